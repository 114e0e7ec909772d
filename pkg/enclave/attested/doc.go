// Package attested connects to an enclave from outside, from a client's machine
// that trusts neither gateway nor coordinator nor host.
//
// A [Client] asks the enclave for evidence over a fresh nonce and judges it against
// a release that was read from a signed manifest: the measurements, the config and
// the GPUs. The verdict is about the key of the connection that the evidence came
// over; a [Dialer] makes connections with such a key and with no other.
//
//	m, err := manifest.Verify(envelope, keys, manifest.Expect{Tag: "v1.2.3"})
//	release, err := attested.FromManifest(m)
//	c, err := attested.New(attested.Config{Domain: "api.example", Judge: j, Release: release})
//	proof, err := c.Verify(ctx)              // proof.Verdict says why not, if not
//	d, err := attested.NewDialer(attested.DialerConfig{Client: c})
//	conn, err := d.Dial(ctx)                 // TLS, ends in the enclave, or an error
//
// A client knows the release and the domain, but usually not the whole platform
// part (the cluster, the open variables, the names of secrets, ssh keys). That the
// enclave was launched for this domain is checked: its guest names the domain in
// the certificate that it signs with the attested key. Config.PlatformDigest pins
// the rest; without it the verdict lists "platform" as not pinned.
package attested
