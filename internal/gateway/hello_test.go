package gateway

import (
	"bytes"
	"crypto/ecdh"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
)

// helloSpec is a ClientHello to be built by hand.
type helloSpec struct {
	names      []string // host names in one server_name extension
	nameType   uint8
	rawNames   []byte // instead of names
	twice      bool   // the extension occurs twice
	before     int    // bytes of padding extension before server_name
	after      int    // the same behind it
	noExt      bool   // no extensions at all
	trailing   []byte // behind the extensions
	oddSuites  bool
	grease     bool
	handshake  byte // message type, client_hello if 0
	longLength bool // the message says it is one byte longer
}

// build returns the handshake message with its header.
func (h helloSpec) build() []byte {
	var b cryptobyte.Builder
	b.AddUint16(0x0303)
	b.AddBytes(make([]byte, 32))
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(make([]byte, 32)) })
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		if h.grease {
			b.AddUint16(0x0a0a)
		}
		b.AddUint16(tls.TLS_AES_128_GCM_SHA256)
		if h.oddSuites {
			b.AddUint8(1)
		}
	})
	b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddUint8(0) })
	if !h.noExt {
		b.AddUint16LengthPrefixed(h.extensions)
	}
	b.AddBytes(h.trailing)
	body := b.BytesOrPanic()
	kind, n := byte(handshakeClientHello), len(body)
	if h.handshake != 0 {
		kind = h.handshake
	}
	if h.longLength {
		n++
	}
	return append([]byte{kind, byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

func (h helloSpec) extensions(b *cryptobyte.Builder) {
	extension := func(id uint16, data []byte) {
		b.AddUint16(id)
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(data) })
	}
	if h.grease {
		extension(0x1a1a, nil)
	}
	if h.before > 0 {
		extension(0xfe00, make([]byte, h.before))
	}
	if h.names != nil || h.rawNames != nil {
		extension(extensionServerName, h.serverNames())
		if h.twice {
			extension(extensionServerName, h.serverNames())
		}
	}
	if h.after > 0 {
		extension(21, make([]byte, h.after)) // padding, RFC 7685
	}
}

func (h helloSpec) serverNames() []byte {
	if h.rawNames != nil {
		return h.rawNames
	}
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		for _, n := range h.names {
			b.AddUint8(h.nameType)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(n)) })
		}
	})
	return b.BytesOrPanic()
}

// records splits a message into records of at most size bytes.
func records(msg []byte, size int) []byte {
	var out []byte
	for len(msg) > 0 {
		n := min(size, len(msg))
		out = append(out, recordHandshake, 3, 1)
		out = binary.BigEndian.AppendUint16(out, uint16(n))
		out = append(out, msg[:n]...)
		msg = msg[n:]
	}
	return out
}

// nameIn runs the whole reader over bytes that come in pieces of a size.
func nameIn(raw []byte, piece int) (string, error) {
	var scan helloScan
	for end := min(piece, len(raw)); ; end = min(end+piece, len(raw)) {
		msg, err := scan.scan(raw[:end])
		if err != nil {
			return "", err
		}
		if msg != nil {
			name, err := clientHelloName(msg)
			return string(name), err
		}
		if end == len(raw) {
			return "", io.ErrUnexpectedEOF
		}
	}
}

func TestServerNameIsFoundOrTheHelloRefused(t *testing.T) {
	name := []string{testDomain}
	alertRecord := func(level, code byte) []byte { return []byte{recordAlert, 3, 1, 0, 2, level, code} }
	hello := helloSpec{names: name}
	for _, c := range []struct {
		rule string
		raw  []byte
		want string
		err  error
	}{
		{"plain", records(hello.build(), maxPlaintext), testDomain, nil},
		{"records of one byte", records(hello.build(), 1), testDomain, nil},
		{"records that split the message header", records(hello.build(), 3), testDomain, nil},
		{"GREASE values", records(helloSpec{names: name, grease: true}.build(), maxPlaintext), testDomain, nil},
		{"a large hello before the name", records(helloSpec{names: name, before: 40_000}.build(), maxPlaintext), testDomain, nil},
		{"a large hello behind the name", records(helloSpec{names: name, after: 60_000}.build(), maxPlaintext), testDomain, nil},
		{"upper case is left to the table", records(helloSpec{names: []string{"API.example.org"}}.build(), 500), "API.example.org", nil},
		{"something follows in the record", records(append(hello.build(), 11, 0, 0, 0), maxPlaintext), testDomain, nil},
		{"something follows in the stream", append(records(hello.build(), maxPlaintext), 23, 3, 3, 0), testDomain, nil},
		{"a warning before the hello", append(alertRecord(1, 112), records(hello.build(), 100)...), testDomain, nil},
		{"too many warnings", append(bytes.Repeat(alertRecord(1, 112), 17), records(hello.build(), 100)...), "", errNotTLS},
		{"a fatal alert", alertRecord(2, 40), "", errNotTLS},
		{"a close_notify", alertRecord(1, 0), "", errNotTLS},
		{"no extensions", records(helloSpec{noExt: true}.build(), 100), "", errNoName},
		{"no server name", records(helloSpec{grease: true}.build(), 100), "", errNoName},
		{"a name of another type only", records(helloSpec{names: name, nameType: 7}.build(), 100), "", errNoName},
		{"two names", records(helloSpec{names: []string{"a.org", "b.org"}}.build(), 100), "", errHelloSyntax},
		{"an empty name", records(helloSpec{names: []string{""}}.build(), 100), "", errHelloSyntax},
		{"an empty list", records(helloSpec{rawNames: []byte{0, 0}}.build(), 100), "", errHelloSyntax},
		{"a trailing dot", records(helloSpec{names: []string{"a.org."}}.build(), 100), "", errHelloSyntax},
		{"bytes behind the list", records(helloSpec{rawNames: append(hello.serverNames(), 1)}.build(), 100), "", errHelloSyntax},
		{"the extension twice", records(helloSpec{names: name, twice: true}.build(), 100), "", errHelloSyntax},
		{"bytes behind the extensions", records(helloSpec{names: name, trailing: []byte{1}}.build(), 100), "", errHelloSyntax},
		{"half a cipher suite", records(helloSpec{names: name, oddSuites: true}.build(), 100), "", errHelloSyntax},
		{"another handshake message", records(helloSpec{names: name, handshake: 2}.build(), 100), "", errNotTLS},
		{"an unfinished message", records(helloSpec{names: name, longLength: true}.build(), 100), "", io.ErrUnexpectedEOF},
		{"an empty record", []byte{recordHandshake, 3, 1, 0, 0}, "", errHelloSyntax},
		{"a record longer than TLS allows", []byte{recordHandshake, 3, 1, 0x40, 1}, "", errNotTLS},
		{"a version that is no TLS", []byte{recordHandshake, 0x10}, "", errNotTLS},
		{"HTTP", []byte("GET / HTTP/1.1\r\n"), "", errNotTLS},
		{"SSLv2", []byte{0x80, 0x2e, 1, 3, 1}, "", errNotTLS},
		{"a message longer than 64 KiB", []byte{recordHandshake, 3, 1, 0, 4, 1, 1, 0, 1}, "", errHelloTooLong},
		{"records beyond 64 KiB", records(helloSpec{names: name, before: 65_000}.build(), 500), "", errHelloTooLong},
	} {
		for _, piece := range []int{1, 7, 1500, len(c.raw)} {
			got, err := nameIn(c.raw, piece)
			if got != c.want || !errors.Is(err, c.err) {
				t.Errorf("%s, in pieces of %d: %q, %v; want %q, %v", c.rule, piece, got, err, c.want, c.err)
			}
		}
	}
}

func TestRealHellosAreRead(t *testing.T) {
	for _, c := range []struct {
		rule string
		cfg  *tls.Config
		want string
		err  error
	}{
		{"post-quantum key share", clientTLS(testDomain), testDomain, nil},
		{"TLS 1.2", &tls.Config{ServerName: testDomain, MaxVersion: tls.VersionTLS12}, testDomain, nil},
		{"an IP address is no server name", &tls.Config{ServerName: "192.0.2.1"}, "", errNoName},
		{"long ALPN", &tls.Config{ServerName: testDomain, NextProtos: strings.Split(strings.Repeat("proto,", 3000)+"h2", ",")}, testDomain, nil},
		{"the outer name with ECH", echConfig(t), "outer.example.org", nil},
	} {
		got, err := nameIn(captureHello(t, c.cfg), 1<<20)
		if got != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %q, %v; want %q, %v", c.rule, got, err, c.want, c.err)
		}
	}
}

// echConfig is a client that hides inner.example.org behind outer.example.org,
// with a key for which nobody has the other half (RFC 9849 section 4).
func echConfig(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdh.X25519().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var b cryptobyte.Builder
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
		b.AddUint16(0xfe0d) // version
		b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
			b.AddUint8(1)       // config_id
			b.AddUint16(0x0020) // DHKEM(X25519, HKDF-SHA256)
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes(key.PublicKey().Bytes()) })
			b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) {
				b.AddUint16(1) // HKDF-SHA256
				b.AddUint16(1) // AES-128-GCM
			})
			b.AddUint8(32)
			b.AddUint8LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte("outer.example.org")) })
			b.AddUint16(0) // extensions
		})
	})
	return &tls.Config{ServerName: "inner.example.org", MinVersion: tls.VersionTLS13, EncryptedClientHelloConfigList: b.BytesOrPanic()}
}

func TestParsingAHelloAllocatesNothing(t *testing.T) {
	raw := helloFor(t, testDomain)
	var buf [maxDomain]byte
	if n := testing.AllocsPerRun(100, func() {
		var scan helloScan
		msg, err := scan.scan(raw)
		if err != nil {
			t.Fatal(err)
		}
		name, err := clientHelloName(msg)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := normalizeName(buf[:0], name); err != nil {
			t.Fatal(err)
		}
	}); n != 0 {
		t.Errorf("%v allocations a hello, want none", n)
	}
}

var errOracleDone = errors.New("the oracle has seen the hello")

// oracle is crypto/tls's own word on the first bytes of a connection.
func oracle(raw []byte) (name string, accepted bool) {
	server := tls.Server(&bytesConn{r: bytes.NewReader(raw)}, &tls.Config{
		GetConfigForClient: func(h *tls.ClientHelloInfo) (*tls.Config, error) {
			name, accepted = h.ServerName, true
			return nil, errOracleDone
		},
	})
	_ = server.Handshake() // always fails, at the latest with errOracleDone
	return name, accepted
}

// bytesConn is a connection whose peer sends the bytes and then its end.
type bytesConn struct {
	net.Conn
	r *bytes.Reader
}

func (c *bytesConn) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *bytesConn) Write(p []byte) (int, error)      { return len(p), nil }
func (c *bytesConn) Close() error                     { return nil }
func (c *bytesConn) SetWriteDeadline(time.Time) error { return nil }

func FuzzHelloAgreesWithCryptoTLS(f *testing.F) {
	name := []string{testDomain}
	for _, h := range []helloSpec{
		{names: name}, {names: name, grease: true}, {noExt: true}, {names: name, twice: true},
		{names: []string{"a.org", "b.org"}}, {names: name, nameType: 1}, {names: name, trailing: []byte{0}},
		{names: []string{"a.org."}}, {names: name, after: 300}, {names: name, oddSuites: true},
	} {
		f.Add(records(h.build(), maxPlaintext), uint16(0))
		f.Add(records(h.build(), 50), uint16(9))
	}
	f.Add(helloFor(f, testDomain), uint16(100))
	f.Add(captureHello(f, &tls.Config{ServerName: "x.example.org", MaxVersion: tls.VersionTLS12}), uint16(3))
	f.Add(append([]byte{recordAlert, 3, 1, 0, 2, 1, 112}, records(helloSpec{names: name}.build(), 9)...), uint16(1))
	f.Fuzz(func(t *testing.T, raw []byte, piece uint16) {
		if len(raw) > maxHello {
			return
		}
		got, err := nameIn(raw, int(piece)+1)
		want, accepted := oracle(raw)
		switch {
		case !accepted: // refusing less than crypto/tls is the enclave's business
		case want == "" && !errors.Is(err, errNoName):
			t.Errorf("crypto/tls sees no name, the gateway %q, %v", got, err)
		case want != "" && (got != want || err != nil):
			t.Errorf("crypto/tls sees %q, the gateway %q, %v", want, got, err)
		}
		if again, againErr := nameIn(raw, 1); again != got || (err == nil) != (againErr == nil) {
			t.Errorf("in pieces of 1: %q, %v; of %d: %q, %v", again, againErr, int(piece)+1, got, err)
		}
	})
}
