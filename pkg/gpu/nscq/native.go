//go:build cgo && linux

package nscq

// #cgo LDFLAGS: -ldl
// #include <stdlib.h>
// #include "bridge.h"
import "C"

import "unsafe"

// native is the loaded library; its methods are the library's functions in Go's types,
// and decide nothing.
type native struct{ api *C.bridge_library }

// Sizes of the library's buffers, in bytes, and how many switches are listed at most.
const (
	reportSize  = C.BRIDGE_REPORT_SIZE
	chainSize   = C.BRIDGE_CHAIN_SIZE
	maxSwitches = C.BRIDGE_MAX_SWITCHES
)

// code is an nscq_rc_t: 0 is success, less an error, more a warning.
type code int

// observed is how an observation went, whose value came by callbacks: how often it was
// called, and what the call and the callbacks told.
type observed struct {
	calls          int
	call, callback code
}

// loadNative opens the library's file, for ever: its threads might outlive a session.
// It says why it can't.
func loadNative(file string) (*native, string) {
	path := C.CString(file)
	defer C.free(unsafe.Pointer(path))
	why := (*C.char)(C.calloc(1, 512))
	defer C.free(unsafe.Pointer(why))
	api := C.bridge_load(path, why, 512)
	return &native{api}, C.GoString(why)
}

// create makes a session. One that comes with a warning has to be destroyed too.
func (n *native) create() (unsafe.Pointer, code) {
	result := C.bridge_create(n.api)
	return result.session, code(result.rc)
}

func (n *native) destroy(session unsafe.Pointer) { C.bridge_destroy(n.api, session) }

// keep puts a nonce into C's memory, for nobody says whether the library copies it, and
// returns what frees it.
func (n *native) keep(nonce [32]byte) (kept unsafe.Pointer, free func()) {
	kept = C.malloc(C.size_t(len(nonce)))
	*(*[32]byte)(kept) = nonce
	return kept, func() { C.free(kept) }
}

func (n *native) setNonce(session, nonce unsafe.Pointer) code {
	return code(C.bridge_set_nonce(n.api, session, nonce))
}

func (n *native) label(uuid [16]byte) ([C.BRIDGE_LABEL_SIZE]byte, code) {
	var label C.bridge_label
	rc := C.bridge_get_label(n.api, (*C.bridge_uuid)(unsafe.Pointer(&uuid)), &label)
	return *(*[C.BRIDGE_LABEL_SIZE]byte)(unsafe.Pointer(&label)), code(rc)
}

func (n *native) uuids(session unsafe.Pointer, path string) ([maxSwitches][16]byte, observed) {
	var out C.bridge_uuids
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	rc := C.bridge_observe_uuids(n.api, session, text, &out)
	return *(*[maxSwitches][16]byte)(unsafe.Pointer(&out.list)), observed{int(out.calls), code(rc), code(out.rc)}
}

// values are small numbers, one of each switch.
func (n *native) values(session unsafe.Pointer, path string) ([maxSwitches]int8, observed) {
	var out C.bridge_values
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	rc := C.bridge_observe_values(n.api, session, text, &out)
	return *(*[maxSwitches]int8)(unsafe.Pointer(&out.list)), observed{int(out.calls), code(rc), code(out.rc)}
}

// report returns the whole buffer, and how much of it the library says it has filled.
func (n *native) report(session unsafe.Pointer, path string) ([]byte, uint32, observed) {
	var out C.bridge_bytes
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	rc := C.bridge_observe_report(n.api, session, text, &out)
	buffer := *(*[reportSize]byte)(unsafe.Pointer(&out.data))
	return buffer[:], uint32(out.size), observed{int(out.calls), code(rc), code(out.rc)}
}

// chain is as report.
func (n *native) chain(session unsafe.Pointer, path string) ([]byte, uint32, observed) {
	var out C.bridge_bytes
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	rc := C.bridge_observe_chain(n.api, session, text, &out)
	buffer := *(*[reportSize]byte)(unsafe.Pointer(&out.data))
	return buffer[:chainSize], uint32(out.size), observed{int(out.calls), code(rc), code(out.rc)}
}
