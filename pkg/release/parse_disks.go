package release

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	modelName = pattern(regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`),
		"up to 128 letters, digits, dots, underscores and hyphens, beginning with a letter or digit")
	volumeName = pattern(regexp.MustCompile(`^[a-z][a-z0-9-]{0,62}$`),
		"up to 63 lower-case letters, digits and hyphens, beginning with a letter")
	repoName = pattern(regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,190}@[A-Za-z0-9][A-Za-z0-9._/-]{0,99}$`),
		"org/model@revision")
)

// models reads the list of models.
func (p *parser) models(v value) {
	v.list(MaxDisks, func(e value) {
		m := Model{}
		e.object(keys{
			"name":       parsed(&m.Name, modelName),
			"repo":       parsed(&m.Repo, repoName),
			"mpk":        func(v value) { packName(v, &m) },
			"id":         func(v value) { oldModelID(v, &m) },
			"key-secret": ignored("models are not encrypted; their weights are checked by the root hash"),
			"schema":     ignored("the layout of the disk is read from the disk"),
			"mwp":        refused("packs of this newer kind are not supported; give mpk"),
			"emwp":       refused("encrypted packs are not supported; give mpk"),
		})
		if !e.has("id") {
			e.require("name")
		}
		e.require("mpk")
		p.cfg.Models = append(p.cfg.Models, m)
	})
}

// oldModelID reads id of the oldest vintage, which may hold a colon.
func oldModelID(v value, m *Model) {
	text, ok := v.text()
	if !ok || m.Name != "" {
		return
	}
	name, err := modelName(strings.ReplaceAll(text, ":", "-"))
	if err != nil {
		v.fail("%v", err)
		return
	}
	m.Name = name
	v.warn("old form, taken as name: %s", name)
}

var (
	packForm = regexp.MustCompile(`^([0-9a-f]{64})_([0-9]{1,18})_` +
		`([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})$`)
	oldPackForm = regexp.MustCompile(`^([0-9a-f]{64})[-_]([0-9]{1,18})$`)
)

// verityBlock is the unit of a dm-verity hash offset in bytes (cryptsetup's
// VERITY on-disk format: the superblock lies on a 512-byte boundary).
const verityBlock = 512

// packName reads mpk: ROOTHASH_HASHOFFSET_UUID, or the two parts of old.
func packName(v value, m *Model) {
	text, ok := v.text()
	if !ok {
		return
	}
	parts := packForm.FindStringSubmatch(text)
	if parts == nil {
		if parts = oldPackForm.FindStringSubmatch(text); parts == nil {
			v.fail("must be ROOTHASH_HASHOFFSET_UUID with a root hash of 64 lower-case hex digits, not %s", quote(text))
			return
		}
		v.warn("old form without the verity UUID, taken; write ROOTHASH_HASHOFFSET_UUID")
		parts = append(parts, "")
	}
	offset, err := checkPack(parts[1], parts[2])
	if err != nil {
		v.fail("%v", err)
		return
	}
	m.RootHash, m.HashOffset, m.UUID = parts[1], offset, parts[3]
}

func checkPack(root, digits string) (uint64, error) {
	if root == zeroDigest {
		return 0, errors.New("the root hash is all zeroes, a placeholder that was never filled in")
	}
	offset, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the hash offset: %w", err)
	}
	if offset == 0 || offset%verityBlock != 0 {
		return 0, fmt.Errorf("the hash offset %d must be a multiple of %d above 0", offset, verityBlock)
	}
	return offset, nil
}

// volumes reads the list of volumes.
func (p *parser) volumes(v value) {
	v.list(MaxDisks, func(e value) {
		d := Volume{}
		e.object(keys{
			"name":       parsed(&d.Name, volumeName),
			"exec":       into(&d.Exec, value.boolean),
			"owner":      into(&d.Owner, between(0, maxOwner)),
			"key-secret": parsed(&d.KeySecret, envName),
			"overlays":   refused("models can't be laid under a volume; mount the model by naming it in the container's models"),
		})
		e.require("name")
		p.cfg.Volumes = append(p.cfg.Volumes, d)
	})
}
