// A double of libnvidia-nscq.so.2 for machines without NVSwitches. It answers the paths
// that attestation asks for, calls back as the library does, and finds what to say in
// the folder that it was loaded from:
//
//	switches                the labels of the switches, one a line
//	LABEL/report-NONCE      the report over a nonce (64 hex digits)
//	LABEL/report            the report over every other nonce
//	LABEL/chain             the certificate chain in PEM
//	script                  how to be broken: lines of a name and a number
//	label                   what every switch is called instead
//
// It writes every call, one a line, into the file calls. Types and names are those of
// NVIDIA's nscq_attestation.h (API 2.0.0), declared anew.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT __attribute__((visibility("default")))
#define MAX_SWITCHES 32

typedef int8_t nscq_rc_t;
typedef int8_t nscq_arch_t;
typedef int8_t nscq_tnvl_status_t;
typedef void (*nscq_fn_t)(void);

typedef struct { uint8_t bytes[16]; } nscq_uuid_t;
typedef struct { char data[64]; } nscq_label_t;
typedef struct { uint32_t report_size; uint8_t report[0x2000]; } nscq_attestation_report_t;
typedef struct { uint8_t cert_chain[0x1400]; uint32_t cert_chain_size; } nscq_attestation_certificate_t;

struct nscq_session_st { int mounted, has_input; uint8_t input[0x20]; };
typedef struct nscq_session_st *nscq_session_t;
typedef struct { nscq_rc_t rc; nscq_session_t session; } nscq_session_result_t;

typedef void (*uuid_fn)(const nscq_uuid_t *, nscq_rc_t, const nscq_uuid_t *, void *);
typedef void (*value_fn)(const nscq_uuid_t *, nscq_rc_t, int8_t, void *);
typedef void (*report_fn)(const nscq_uuid_t *, nscq_rc_t, const nscq_attestation_report_t, void *);
typedef void (*chain_fn)(const nscq_uuid_t *, nscq_rc_t, const nscq_attestation_certificate_t, void *);

enum { NOT_IMPLEMENTED = -1, UNEXPECTED_VALUE = -5, DRV = -7 };

EXPORT const uint32_t nscq_api_version = 2u << 24;

static FILE *file(const char *name, const char *mode) {
	Dl_info info;
	char path[4096];
	if (!dladdr(&nscq_api_version, &info)) return NULL;
	const char *slash = strrchr(info.dli_fname, '/');
	snprintf(path, sizeof path, "%.*s/%s", (int)(slash - info.dli_fname), info.dli_fname, name);
	return fopen(path, mode);
}

static uint32_t contents(const char *name, void *into, size_t room) {
	FILE *f = file(name, "r");
	if (!f) return 0;
	size_t n = fread(into, 1, room, f);
	fclose(f);
	return (uint32_t)n;
}

static void note(const char *call, const char *of) {
	FILE *f = file("calls", "a");
	if (!f) return;
	fprintf(f, "%s%s%s\n", call, *of ? " " : "", of);
	fclose(f);
}

// script is the number behind a name and what it is about, or another.
static long script(const char *name, const char *of, long otherwise) {
	char wanted[128], line[128];
	FILE *f = file("script", "r");
	if (!f) return otherwise;
	int n = snprintf(wanted, sizeof wanted, "%s%s%s ", name, *of ? " " : "", of);
	while (fgets(line, sizeof line, f))
		if (!strncmp(line, wanted, (size_t)n)) otherwise = strtol(line + n, NULL, 10);
	fclose(f);
	return otherwise;
}

// A switch's label is SWX- and its identifier, a UUID in capitals.
static const int dashes[] = {4, 6, 8, 10};

static void write_label(const nscq_uuid_t *uuid, char *out) {
	out += sprintf(out, "SWX-");
	for (int i = 0, d = 0; i < 16; i++) {
		if (d < 4 && i == dashes[d]) d++, *out++ = '-';
		out += sprintf(out, "%02X", uuid->bytes[i]);
	}
}

static int switches(nscq_uuid_t *out) {
	FILE *f = file("switches", "r");
	char line[64];
	int n = 0;
	if (!f) return 0;
	while (n < MAX_SWITCHES && fgets(line, sizeof line, f)) {
		const char *c = line + 4;
		for (int i = 0; i < 16; i++, c += 2) {
			unsigned byte = 0;
			if (*c == '-') c++;
			sscanf(c, "%2x", &byte);
			out[n].bytes[i] = (uint8_t)byte;
		}
		n++;
	}
	fclose(f);
	return n;
}

EXPORT nscq_rc_t nscq_uuid_to_label(const nscq_uuid_t *uuid, nscq_label_t *label, uint32_t flags) {
	(void)flags;
	memset(label, 0, sizeof *label);
	if (!contents("label", label->data, sizeof label->data)) write_label(uuid, label->data);
	return (nscq_rc_t)script("label", "", 0);
}

EXPORT nscq_session_result_t nscq_session_create(uint32_t flags) {
	nscq_session_result_t r = {(nscq_rc_t)script("create", "", 0), NULL};
	note("create", "");
	// A warning comes with a session.
	if (r.rc >= 0 && !script("no session", "", 0)) {
		r.session = calloc(1, sizeof *r.session);
		r.session->mounted = flags & 1;
	}
	return r;
}

EXPORT void nscq_session_destroy(nscq_session_t session) {
	note("destroy", "");
	free(session);
}

EXPORT nscq_rc_t nscq_session_set_input(nscq_session_t session, uint32_t flags, void *input, uint32_t size) {
	(void)flags;
	note("input", "");
	if (size != sizeof session->input) return UNEXPECTED_VALUE;
	memcpy(session->input, input, size);
	session->has_input = 1;
	return (nscq_rc_t)script("input", "", 0);
}

// The report over the session's input.
static nscq_rc_t say_report(nscq_session_t s, const char *label, nscq_attestation_report_t *out) {
	char name[256];
	int n = snprintf(name, sizeof name, "%s/report-", label);
	if (!s->has_input) return UNEXPECTED_VALUE;
	for (size_t i = 0; i < sizeof s->input; i++) n += sprintf(name + n, "%02x", s->input[i]);
	out->report_size = contents(name, out->report, sizeof out->report);
	if (!out->report_size) {
		snprintf(name, sizeof name, "%s/report", label);
		out->report_size = contents(name, out->report, sizeof out->report);
	}
	return out->report_size ? 0 : DRV;
}

// say calls back once, of one switch.
static nscq_rc_t say(nscq_session_t s, const char *what, const nscq_uuid_t *uuid, nscq_fn_t callback, void *data) {
	nscq_rc_t rc = (nscq_rc_t)script("callback", what, 0);
	long size = script("size", what, -1);
	char label[64], name[128];
	write_label(uuid, label);
	if (!strcmp(what, "uuid")) {
		((uuid_fn)callback)(uuid, rc, uuid, data);
	} else if (!strcmp(what, "arch")) {
		((value_fn)callback)(uuid, rc, (nscq_arch_t)script("arch", "", 2), data);
	} else if (!strcmp(what, "pcie_mode")) {
		((value_fn)callback)(uuid, rc, (nscq_tnvl_status_t)script("mode", "", 3), data);
	} else if (!strcmp(what, "attestation_report")) {
		nscq_attestation_report_t report = {0};
		nscq_rc_t none = say_report(s, label, &report);
		if (size >= 0) report.report_size = (uint32_t)size;
		((report_fn)callback)(uuid, rc ? rc : none, report, data);
	} else if (!strcmp(what, "certificate")) {
		nscq_attestation_certificate_t chain = {{0}, 0};
		snprintf(name, sizeof name, "%s/chain", label);
		chain.cert_chain_size = contents(name, chain.cert_chain, sizeof chain.cert_chain);
		if (size >= 0) chain.cert_chain_size = (uint32_t)size;
		((chain_fn)callback)(uuid, rc, chain, data);
	} else {
		return NOT_IMPLEMENTED;
	}
	return 0;
}

EXPORT nscq_rc_t nscq_session_path_observe(nscq_session_t session, const char *path, nscq_fn_t callback, void *data, uint32_t flags) {
	nscq_uuid_t uuids[MAX_SWITCHES];
	int n = switches(uuids);
	const char *what = strrchr(path, '/') + 1;
	(void)flags;
	note("observe", path);
	long times = script("times", what, 1);
	for (int i = 0; i < n && session->mounted; i++) {
		char label[64], prefix[80];
		write_label(&uuids[i], label);
		snprintf(prefix, sizeof prefix, "/%s/config/", label);
		int all = !strcmp(path, "/drv/nvswitch/{device}/uuid") || !strcmp(path, "/{nvswitch}/id/arch") || !strncmp(path, "/{nvswitch}/config/", 19);
		if (!all && strncmp(path, prefix, strlen(prefix))) continue;
		for (long t = 0; t < times; t++) {
			nscq_rc_t rc = say(session, what, &uuids[i], callback, data);
			if (rc) return rc;
		}
	}
	return (nscq_rc_t)script("return", what, 0);
}
