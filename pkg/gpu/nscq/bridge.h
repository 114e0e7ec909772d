// What of NSCQ's API 2.0.0 is called here, and what its callbacks gave. Sizes, types
// and the callbacks' parameters are those of nscq_attestation.h; see the package's
// documentation.

#ifndef CASEMATE_NSCQ_BRIDGE_H
#define CASEMATE_NSCQ_BRIDGE_H

#include <stddef.h>
#include <stdint.h>

enum {
	BRIDGE_MOUNT_DEVICES = 1,   // NSCQ_SESSION_CREATE_MOUNT_DEVICES
	BRIDGE_NONCE_SIZE = 0x20,   // NSCQ_ATTESTATION_REPORT_NONCE_SIZE
	BRIDGE_REPORT_SIZE = 0x2000, // NSCQ_ATTESTATION_REPORT_SIZE
	BRIDGE_CHAIN_SIZE = 0x1400, // NSCQ_CERTIFICATE_CERT_CHAIN_MAX_SIZE
	BRIDGE_LABEL_SIZE = 64,
	BRIDGE_MAX_SWITCHES = 16, // more than any board has; calls beyond are counted only
};

typedef int8_t bridge_rc; // 0 is success, less an error, more a warning

typedef struct {
	uint8_t bytes[16];
} bridge_uuid;

typedef struct {
	char data[BRIDGE_LABEL_SIZE];
} bridge_label;

typedef struct {
	bridge_rc rc;
	void *session;
} bridge_session;

// The functions of a loaded library.
typedef struct {
	bridge_session (*session_create)(uint32_t flags);
	void (*session_destroy)(void *session);
	bridge_rc (*path_observe)(void *session, const char *path, void (*callback)(void), void *data, uint32_t flags);
	bridge_rc (*set_input)(void *session, uint32_t flags, void *input, uint32_t size);
	bridge_rc (*uuid_to_label)(const bridge_uuid *uuid, bridge_label *label, uint32_t flags);
} bridge_library;

// What the callbacks of one observation were called with: how often, and the last
// code that was no success.
typedef struct {
	uint32_t calls;
	bridge_rc rc;
	bridge_uuid list[BRIDGE_MAX_SWITCHES];
} bridge_uuids;

typedef struct {
	uint32_t calls;
	bridge_rc rc;
	int8_t list[BRIDGE_MAX_SWITCHES];
} bridge_values;

typedef struct {
	uint32_t calls;
	bridge_rc rc;
	uint32_t size; // as the library says it: not to be believed
	uint8_t data[BRIDGE_REPORT_SIZE];
} bridge_bytes;

// bridge_load opens the library and finds its functions, for ever. It returns NULL and
// writes why if it can't.
bridge_library *bridge_load(const char *path, char *why, size_t size);

bridge_session bridge_create(const bridge_library *lib);
void bridge_destroy(const bridge_library *lib, void *session);
bridge_rc bridge_set_nonce(const bridge_library *lib, void *session, void *nonce);
bridge_rc bridge_get_label(const bridge_library *lib, const bridge_uuid *uuid, bridge_label *label);

// Each observes a path, which the library answers by calling back before it returns.
bridge_rc bridge_observe_uuids(const bridge_library *lib, void *session, const char *path, bridge_uuids *out);
bridge_rc bridge_observe_values(const bridge_library *lib, void *session, const char *path, bridge_values *out);
bridge_rc bridge_observe_report(const bridge_library *lib, void *session, const char *path, bridge_bytes *out);
bridge_rc bridge_observe_chain(const bridge_library *lib, void *session, const char *path, bridge_bytes *out);

#endif
