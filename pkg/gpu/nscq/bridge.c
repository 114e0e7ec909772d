//go:build cgo && linux

#include "bridge.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Callbacks are given reports and chains by value.
typedef struct {
	uint32_t size;
	uint8_t data[BRIDGE_REPORT_SIZE];
} report;

typedef struct {
	uint8_t data[BRIDGE_CHAIN_SIZE];
	uint32_t size;
} chain;

// find fills in the functions; it returns the name of one that is not there.
static const char *find(void *handle, bridge_library *lib) {
	struct {
		const char *name;
		void *into;
	} wanted[] = {
		{"nscq_session_create", &lib->session_create},
		{"nscq_session_destroy", &lib->session_destroy},
		{"nscq_session_path_observe", &lib->path_observe},
		{"nscq_session_set_input", &lib->set_input},
		{"nscq_uuid_to_label", &lib->uuid_to_label},
	};
	for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
		void *symbol = dlsym(handle, wanted[i].name);
		if (!symbol) {
			return wanted[i].name;
		}
		// ISO C has no conversion from dlsym's pointer to that of a function.
		memcpy(wanted[i].into, &symbol, sizeof symbol);
	}
	return NULL;
}

bridge_library *bridge_load(const char *path, char *why, size_t size) {
	void *handle = dlopen(path, RTLD_LAZY | RTLD_LOCAL);
	if (!handle) {
		const char *text = dlerror();
		snprintf(why, size, "%s", text ? text : "dlopen fails and does not say why");
		return NULL;
	}
	bridge_library found;
	const char *missing = find(handle, &found);
	if (missing) {
		snprintf(why, size, "%s lacks %s: attestation needs a newer one", path, missing);
		dlclose(handle);
		return NULL;
	}
	bridge_library *lib = malloc(sizeof *lib);
	if (!lib) {
		snprintf(why, size, "no memory");
		dlclose(handle);
		return NULL;
	}
	*lib = found;
	return lib;
}

bridge_session bridge_create(const bridge_library *lib) {
	return lib->session_create(BRIDGE_MOUNT_DEVICES);
}

void bridge_destroy(const bridge_library *lib, void *session) {
	lib->session_destroy(session);
}

bridge_rc bridge_set_nonce(const bridge_library *lib, void *session, void *nonce) {
	return lib->set_input(session, 0, nonce, BRIDGE_NONCE_SIZE);
}

bridge_rc bridge_get_label(const bridge_library *lib, const bridge_uuid *uuid, bridge_label *label) {
	return lib->uuid_to_label(uuid, label, 0);
}

static void got_uuid(const bridge_uuid *device, bridge_rc rc, const bridge_uuid *uuid, void *data) {
	bridge_uuids *out = data;
	(void)device;
	if (rc) {
		out->rc = rc;
	} else if (uuid && out->calls < BRIDGE_MAX_SWITCHES) {
		out->list[out->calls] = *uuid;
	}
	out->calls++;
}

static void got_value(const bridge_uuid *device, bridge_rc rc, int8_t value, void *data) {
	bridge_values *out = data;
	(void)device;
	if (rc) {
		out->rc = rc;
	} else if (out->calls < BRIDGE_MAX_SWITCHES) {
		out->list[out->calls] = value;
	}
	out->calls++;
}

static void got_bytes(bridge_bytes *out, bridge_rc rc, uint32_t size, const uint8_t *data, size_t room) {
	if (rc) {
		out->rc = rc;
	} else {
		out->size = size;
		memcpy(out->data, data, room);
	}
	out->calls++;
}

static void got_report(const bridge_uuid *device, bridge_rc rc, const report value, void *data) {
	(void)device;
	got_bytes(data, rc, value.size, value.data, sizeof value.data);
}

static void got_chain(const bridge_uuid *device, bridge_rc rc, const chain value, void *data) {
	(void)device;
	got_bytes(data, rc, value.size, value.data, sizeof value.data);
}

bridge_rc bridge_observe_uuids(const bridge_library *lib, void *session, const char *path, bridge_uuids *out) {
	return lib->path_observe(session, path, (void (*)(void))got_uuid, out, 0);
}

bridge_rc bridge_observe_values(const bridge_library *lib, void *session, const char *path, bridge_values *out) {
	return lib->path_observe(session, path, (void (*)(void))got_value, out, 0);
}

bridge_rc bridge_observe_report(const bridge_library *lib, void *session, const char *path, bridge_bytes *out) {
	return lib->path_observe(session, path, (void (*)(void))got_report, out, 0);
}

bridge_rc bridge_observe_chain(const bridge_library *lib, void *session, const char *path, bridge_bytes *out) {
	return lib->path_observe(session, path, (void (*)(void))got_chain, out, 0);
}
