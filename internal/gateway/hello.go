package gateway

import (
	"errors"

	"golang.org/x/crypto/cryptobyte"
)

// Constants of the TLS record and handshake layers (RFC 8446 appendix B) and of
// the server_name extension (RFC 6066 section 3).
const (
	recordHeaderLen = 5
	// maxPlaintext is the longest payload of a record that is not encrypted.
	maxPlaintext = 16384

	recordAlert     = 21
	recordHandshake = 22

	handshakeHeaderLen   = 4
	handshakeClientHello = 1
	// maxHandshake is the longest ClientHello crypto/tls reads, without its header.
	maxHandshake = 65536

	extensionServerName = 0
	nameTypeHost        = 0

	alertLevelWarning = 1
	alertCloseNotify  = 0
)

// maxHello bounds the bytes read before the ClientHello is complete. The longest
// seen in the field, with several post-quantum key shares, are below 16 KiB.
const maxHello = 64 << 10

// Reasons why a hello is refused.
var (
	errNotTLS       = errors.New("not a TLS handshake")
	errHelloTooLong = errors.New("hello longer than 64 KiB")
	errHelloSyntax  = errors.New("malformed ClientHello")
	errNoName       = errors.New("no server name in the ClientHello")
)

// clientHelloName returns the host name in the server_name extension of a
// ClientHello, given with its handshake header; the result points into msg. Of
// everything else only the framing is checked. With encrypted ClientHello this
// is the outer name.
func clientHelloName(msg []byte) ([]byte, error) {
	s := cryptobyte.String(msg)
	var kind uint8
	var body cryptobyte.String
	if !s.ReadUint8(&kind) || kind != handshakeClientHello || !s.ReadUint24LengthPrefixed(&body) {
		return nil, errHelloSyntax
	}
	var session, suites, compression, extensions cryptobyte.String
	if !body.Skip(2+32) || // legacy_version, random
		!body.ReadUint8LengthPrefixed(&session) ||
		!body.ReadUint16LengthPrefixed(&suites) || len(suites)%2 != 0 ||
		!body.ReadUint8LengthPrefixed(&compression) {
		return nil, errHelloSyntax
	}
	if body.Empty() {
		return nil, errNoName
	}
	if !body.ReadUint16LengthPrefixed(&extensions) || !body.Empty() {
		return nil, errHelloSyntax
	}
	return serverName(extensions)
}

// serverName walks the extensions to their end, so that a second server_name or
// a broken frame behind the first one is noticed.
func serverName(extensions cryptobyte.String) ([]byte, error) {
	var name []byte
	seen := false
	for !extensions.Empty() {
		var id uint16
		var data cryptobyte.String
		if !extensions.ReadUint16(&id) || !extensions.ReadUint16LengthPrefixed(&data) {
			return nil, errHelloSyntax
		}
		if id != extensionServerName {
			continue
		}
		if seen {
			return nil, errHelloSyntax
		}
		seen = true
		var ok bool
		if name, ok = hostName(data); !ok {
			return nil, errHelloSyntax
		}
	}
	if len(name) == 0 {
		return nil, errNoName
	}
	return name, nil
}

// hostName reads a ServerNameList: at most one name of type host_name, which is
// not empty and has no trailing dot (RFC 6066 section 3).
func hostName(data cryptobyte.String) (name []byte, ok bool) {
	var list cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&list) || !data.Empty() || list.Empty() {
		return nil, false
	}
	for !list.Empty() {
		var kind uint8
		var value cryptobyte.String
		if !list.ReadUint8(&kind) || !list.ReadUint16LengthPrefixed(&value) || value.Empty() {
			return nil, false
		}
		if kind != nameTypeHost {
			continue
		}
		if name != nil || value[len(value)-1] == '.' {
			return nil, false
		}
		name = value
	}
	return name, true
}
