package gateway

// maxWarnings is how many warning alerts may come before the hello is complete:
// crypto/tls ignores as many.
const maxWarnings = 16

// helloScan finds the ClientHello in the bytes of a connection as they come. It
// looks at each record once, whatever the size of the pieces.
type helloScan struct {
	next     int    // where the next record begins
	warnings int    // alerts skipped since the last handshake record
	pieces   []byte // payloads so far, if the hello is spread over several records
}

// scan looks at everything received so far: raw only grows between calls. It
// returns the handshake message with its header once it is complete, nil while
// it is not. The message may point into raw.
func (h *helloScan) scan(raw []byte) ([]byte, error) {
	for {
		payload, kind, err := h.record(raw)
		if err != nil || payload == nil {
			return nil, err
		}
		h.next += recordHeaderLen + len(payload)
		if kind == recordAlert {
			if err := h.skipAlert(payload); err != nil {
				return nil, err
			}
			continue
		}
		h.warnings = 0
		msg, err := h.collect(payload)
		if err != nil || msg != nil {
			return msg, err
		}
	}
}

// record returns the next whole record's payload, nil if there is none yet.
func (h *helloScan) record(raw []byte) (payload []byte, kind byte, err error) {
	rest := raw[h.next:]
	if len(rest) == 0 {
		return nil, 0, nil
	}
	kind = rest[0]
	if kind != recordHandshake && kind != recordAlert {
		return nil, 0, errNotTLS
	}
	// The version in the first records says little (RFC 8446 section 5.1), but a
	// value of 0x1000 and more is no TLS.
	if len(rest) > 1 && rest[1] >= 0x10 {
		return nil, 0, errNotTLS
	}
	if len(rest) < recordHeaderLen {
		return nil, 0, nil
	}
	n := int(rest[3])<<8 | int(rest[4])
	switch {
	case n > maxPlaintext:
		return nil, 0, errNotTLS
	case n == 0:
		return nil, 0, errHelloSyntax
	case h.next+recordHeaderLen+n > maxHello:
		return nil, 0, errHelloTooLong
	case len(rest) < recordHeaderLen+n:
		return nil, 0, nil
	}
	return rest[recordHeaderLen : recordHeaderLen+n], kind, nil
}

func (h *helloScan) skipAlert(payload []byte) error {
	if len(payload) != 2 || payload[0] != alertLevelWarning || payload[1] == alertCloseNotify {
		return errNotTLS
	}
	if h.warnings++; h.warnings > maxWarnings {
		return errNotTLS
	}
	return nil
}

// collect adds a handshake record's payload and returns the message if that
// completes it.
func (h *helloScan) collect(payload []byte) ([]byte, error) {
	if h.pieces != nil {
		h.pieces = append(h.pieces, payload...)
		payload = h.pieces
	}
	if payload[0] != handshakeClientHello {
		return nil, errNotTLS
	}
	if len(payload) >= handshakeHeaderLen {
		n := int(payload[1])<<16 | int(payload[2])<<8 | int(payload[3])
		if n > maxHandshake {
			return nil, errHelloTooLong
		}
		if len(payload) >= handshakeHeaderLen+n {
			return payload[:handshakeHeaderLen+n], nil
		}
	}
	if h.pieces == nil {
		h.pieces = append(make([]byte, 0, 2*len(payload)), payload...)
	}
	return nil, nil
}
