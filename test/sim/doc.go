// Package sim holds the simulator: the real engine, runner, planner, reaper,
// gateway tracker and store, among simulated agents, gateways and networks that
// fail in every way that is known of, on virtual time. After every step the
// invariants of the design are checked.
//
//	go test ./test/sim                                    about a minute, fresh seeds
//	SOAK_FOR=8h go test ./test/sim -run TestSoak -timeout 0   as long as told
//	SIM_SEED=42 go test ./test/sim -run TestReplay -v     one run, in words
//
// A run is a list of actions made from its seed. One that fails is shrunk to the
// actions that are needed, which are printed with the command that replays them.
package sim
