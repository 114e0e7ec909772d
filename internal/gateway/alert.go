package gateway

import "time"

// alert is a TLS alert description (RFC 8446 section 6).
type alert byte

// The alerts a gateway sends.
const (
	alertDecodeError      alert = 50
	alertInternalError    alert = 80
	alertMissingExtension alert = 109
	alertUnrecognizedName alert = 112
)

// lingerTime and lingerBytes bound what a refused client may still send before
// its socket is closed: closing with unread bytes would reset the connection
// and could destroy the alert on its way.
const (
	lingerTime  = time.Second
	lingerBytes = 64 << 10
)

// record renders the alert as a fatal, unencrypted TLS record.
func (a alert) record() []byte {
	return []byte{recordAlert, 3, 3, 0, 2, 2, byte(a)}
}

// refuse sends the alert and ends the connection in a way that lets the alert
// arrive. The client is told as far as it listens: errors mean that it is gone.
func refuse(client *socket, a alert) {
	defer client.Close()
	if client.setDeadline(time.Now().Add(lingerTime)) != nil {
		return
	}
	if _, err := client.file.Write(a.record()); err != nil {
		return
	}
	if client.closeWrite() != nil {
		return
	}
	var buf [2048]byte
	for left := lingerBytes; left > 0; {
		n, err := client.file.Read(buf[:])
		if err != nil {
			return
		}
		left -= n
	}
}
