// Package judge judges an enclave as a whole: the document that it serves, of
// whatever format, with the evidence of its GPUs, against what the caller expects
// of it and a policy. It is the same for the agent, the coordinator and clients.
//
// Whoever wants to talk to an enclave does this:
//
//	p, err := policy.Parse(file)             // or judge.Vendors(): real hardware only
//	j, err := judge.New(judge.Config{Policy: p, Getter: cache})
//	…
//	var nonce [32]byte
//	rand.Read(nonce[:])                      // a new one for every question
//	raw, key, err := client.Attestation(ctx, nonce) // pkg/enclave/guestclient
//	verdict := j.Verify(ctx, raw, judge.Expect{
//		Nonce:        nonce,
//		TLSKeyDigest: key,               // of the key seen on that connection
//		ConfigDigest: sha256.Sum256(config),
//		Measurements: measurements,      // of the release; judge.ParseMeasurement
//		GPUs:         1,                 // or judge.AnyGPUs
//		AnyPlatform:  true,              // the coordinator knows the platform part: judge.ForSpec
//	})
//	if err := verdict.Err(); err != nil { … } // names every check that failed
//
// and then sends what is for the enclave only over connections with that key
// (guestclient pins it). A verdict says nothing of another connection, another
// nonce or a later time.
//
// What the caller expects is compared in any case: the policy says what else is
// accepted (TCB, debug, drivers …), and can narrow the measurements, but not widen
// them. Nothing is fetched but through the Getter; without one, evidence is judged
// by what it brings, and what is missing fails the check that needs it.
//
// Evidence under roots that no vendor owns, and evidence that nobody signed, is
// accepted only if the policy's section "simulated" names it, and the verdict then
// carries the mark "simulated".
package judge
