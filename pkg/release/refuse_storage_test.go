package release

import (
	"strings"
	"testing"
)

func TestStorageRefusals(t *testing.T) {
	c0 := "containers[0]."
	pack := hex64("2") + "_1048576_6a767ed1-252b-50a1-8a12-ecad0426081e"
	model := func(mpk string) string { return "models: [{name: m, mpk: " + mpk + "}]" }
	checkRefusals(t, []refusal{
		{rule: "a bind mount", container: "volumes: [\"/mnt/ramdisk:/data\"]", path: c0 + "volumes[0]", line: 7, reason: "tmpfs"},
		{rule: "a volume that is not declared", container: "volumes: [\"v:/data\"]", path: c0 + "volumes", line: 7, reason: "not declared"},
		{rule: "a mount without a path", container: "volumes: [v]", path: c0 + "volumes[0]", line: 7, reason: "VOLUME:/path"},
		{rule: "a relative mount", container: "volumes: [\"v:data\"]", path: c0 + "volumes[0]", line: 7, reason: "clean absolute"},
		{rule: "a mount with dots", container: "volumes: [\"v:/a/../b\"]", path: c0 + "volumes[0]", line: 7, reason: "clean absolute"},
		{rule: "an unknown mount option", container: "volumes: [\"v:/a:z\"]", path: c0 + "volumes[0]", line: 7, reason: "ro or rw"},
		{rule: "two volumes at one place", container: "volumes: [\"v:/a\", \"v:/a\"]", top: "volumes: [{name: v}]", path: c0 + "volumes", line: 7, reason: "two volumes"},
		{rule: "tmpfs over a volume", container: "volumes: [\"v:/a\"]\ntmpfs: {/a: }", top: "volumes: [{name: v}]", path: c0 + "tmpfs", line: 8, reason: "already"},
		{rule: "tmpfs as a list", container: "tmpfs: [/tmp]", path: c0 + "tmpfs", line: 7, reason: "mapping of paths"},
		{rule: "tmpfs over the root", container: "tmpfs: {/: }", path: c0 + `tmpfs["/"]`, line: 7, reason: "read_only: false"},
		{rule: "tmpfs over /proc", container: "tmpfs: {/proc/x: }", path: c0 + `tmpfs["/proc/x"]`, line: 7, reason: "under /proc"},
		{rule: "tmpfs with set-id programs", container: "tmpfs: {/a: suid}", path: c0 + `tmpfs["/a"]`, line: 7, reason: "nosuid"},
		{rule: "tmpfs with a share of memory", container: "tmpfs: {/a: size=50%}", path: c0 + `tmpfs["/a"]`, line: 7, reason: "size=128m"},
		{rule: "tmpfs larger than memory", container: "tmpfs: {/a: size=9g}", path: c0 + "tmpfs", line: 7, reason: "8192 MiB"},
		{rule: "tmpfs with a set-id mode", container: "tmpfs: {/a: mode=4755}", path: c0 + `tmpfs["/a"]`, line: 7, reason: "octal"},
		{rule: "tmpfs with contradicting options", container: "tmpfs: {/a: \"exec,noexec\"}", path: c0 + `tmpfs["/a"]`, line: 7, reason: "against another"},
		{rule: "tmpfs with an unknown option", container: "tmpfs: {/a: huge=always}", path: c0 + `tmpfs["/a"]`, line: 7, reason: "known are"},
		{rule: "tmpfs of an owner too large", container: "tmpfs: {/a: uid=65535}", path: c0 + `tmpfs["/a"]`, line: 7, reason: "65534"},
		{rule: "an mpk in words", top: model("abc"), path: "models[0].mpk", line: 9, reason: "ROOTHASH_HASHOFFSET_UUID"},
		{rule: "an mpk of zeroes", top: model(hex64("0") + "_512"), path: "models[0].mpk", line: 9, reason: "placeholder"},
		{rule: "an offset that is no multiple", top: model(hex64("2") + "_1000"), path: "models[0].mpk", line: 9, reason: "multiple of 512"},
		{rule: "a model without a pack", top: "models: [{name: m}]", path: "models[0].mpk", line: 9, reason: "required"},
		{rule: "a model without a name", top: "models: [{mpk: " + pack + "}]", path: "models[0].name", line: 9, reason: "required"},
		{rule: "a repo without a revision", top: "models: [{name: m, repo: a/b, mpk: " + pack + "}]", path: "models[0].repo", line: 9, reason: "org/model@revision"},
		{rule: "an encrypted pack", top: "models: [{name: m, emwp: x, mpk: " + pack + "}]", path: "models[0].emwp", line: 9, reason: "give mpk"},
		{rule: "a name twice", top: "volumes: [{name: v}, {name: v}]", path: "volumes[1].name", line: 9, reason: "taken"},
		{rule: "an owner too large", top: "volumes: [{name: v, owner: 65535}]", path: "volumes[0].owner", line: 9, reason: "65534"},
		{rule: "a volume in capitals", top: "volumes: [{name: V}]", path: "volumes[0].name", line: 9, reason: "lower-case"},
		{rule: "a volume over a model", top: "volumes: [{name: v, overlays: []}]", path: "volumes[0].overlays", line: 9, reason: "can't be laid"},
		{rule: "too many disks in one list", top: "volumes: [" + strings.Repeat("{name: v},", 25) + "]", path: "volumes", line: 9, reason: "at most 24"},
	})
}
