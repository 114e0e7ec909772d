// Package gateway is Casemate's layer-4 SNI passthrough. TLS ends inside the
// enclave, so the gateway reads the server name of a ClientHello, looks up the
// route, and joins two sockets: it can neither decrypt nor decide.
//
// [Routes] owns the routing table: it applies batches from a [Source], writes
// them to disk, swaps the table, and only then acknowledges. [Server] accepts
// connections and serves them from whatever table stands, with or without a
// source. After an acknowledgement no connection is dialled any more to an
// enclave that the table has left; those that are open go on, and are counted
// until they end.
package gateway
