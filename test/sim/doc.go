// Package sim holds the simulator: the real API, engine, runner, planner, reaper,
// gateway tracker and store, among simulated users, operators, agents, gateways
// and networks that fail in every way that is known of, on virtual time. After
// every step the invariants of the design are checked.
//
//	go test ./test/sim                                        a minute or two, fresh seeds
//	make soak FOR=8h                                          as long as told; or STEPS=100000000
//	SIM_SEED=42 go test ./test/sim -run TestReplay -v         one run, in words
//
// Users call the services through the chain that the real server has, without a
// socket. What is not real: agents and gateways, which are met at the
// coordinator's own interfaces, and evidence.
//
// A run is a list of actions made from its seed. One that fails is shrunk to the
// actions that are needed, which are printed with the command that replays them.
// Long soaks make and shrink their runs here and not with rapid: they need draws
// that are even and as many as there are actions, rapid's favour small values; a
// run is named by one number; and taking out whole actions shrinks a run in some
// dozens of plays, where rapid lowers bit after bit. The same world is driven by
// rapid.SyncTest, too (TestInvariantsHold), whose small and extreme values make
// other runs than ours.
//
// TestCrashPoints crashes the coordinator before and after every commit and call,
// and prints the step table of the crashes. TestEveryPlantedDefectIsCaught builds
// the coordinator with some dozens of one-line defects, and looks for each.
package sim
