// Package tunnel is a listener on this machine whose connections end in an attested
// enclave: bytes in the clear on the near side, TLS on the far one.
package tunnel
