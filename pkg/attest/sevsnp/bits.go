package sevsnp

import (
	"fmt"
	"strings"
)

// GuestPolicy is the policy a guest was launched with (ABI table 10).
type GuestPolicy uint64

// Bits of the guest policy.
const (
	PolicySMT              GuestPolicy = 1 << 16
	policyReservedOne      GuestPolicy = 1 << 17
	PolicyMigrationAgent   GuestPolicy = 1 << 18
	PolicyDebug            GuestPolicy = 1 << 19
	PolicySingleSocket     GuestPolicy = 1 << 20
	PolicyCXL              GuestPolicy = 1 << 21
	PolicyMemAES256XTS     GuestPolicy = 1 << 22
	PolicyRAPLDisabled     GuestPolicy = 1 << 23
	PolicyCiphertextHiding GuestPolicy = 1 << 24
	PolicyPageSwapDisabled GuestPolicy = 1 << 25
	policyMustBeZero       GuestPolicy = ^GuestPolicy(1<<26 - 1)
)

// guestPolicyNames are the names a Policy may require, in the order of their bits.
var guestPolicyNames = []named{
	{"single_socket", uint64(PolicySingleSocket)},
	{"mem_aes_256_xts", uint64(PolicyMemAES256XTS)},
	{"rapl_disabled", uint64(PolicyRAPLDisabled)},
	{"ciphertext_hiding", uint64(PolicyCiphertextHiding)},
	{"page_swap_disabled", uint64(PolicyPageSwapDisabled)},
}

type named struct {
	name string
	bit  uint64
}

func bitOf(names []named, name string) (uint64, bool) {
	for _, n := range names {
		if n.name == name {
			return n.bit, true
		}
	}
	return 0, false
}

func listOf(names []named) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = n.name
	}
	return strings.Join(out, ", ")
}

func (p GuestPolicy) check() error {
	if p&policyReservedOne == 0 {
		return fmt.Errorf("guest policy 0x%x lacks bit 17, which is always one", uint64(p))
	}
	if p&policyMustBeZero != 0 {
		return fmt.Errorf("guest policy 0x%x has reserved bits set", uint64(p))
	}
	return nil
}

// PlatformInfo tells about the machine (ABI table 24).
type PlatformInfo uint64

// platformNames are the bits a Policy may require. Bit 6 and those above 7 are
// reserved; firmware gives them a meaning without a new report version, so they are
// no reason to refuse.
var platformNames = []named{
	{"smt", 1 << 0}, {"tsme", 1 << 1}, {"ecc", 1 << 2}, {"rapl_disabled", 1 << 3},
	{"ciphertext_hiding", 1 << 4}, {"alias_check_complete", 1 << 5}, {"tio", 1 << 7},
}

// Names lists the bits that are set, by name.
func (p PlatformInfo) Names() []string {
	var out []string
	for _, n := range platformNames {
		if uint64(p)&n.bit != 0 {
			out = append(out, n.name)
		}
	}
	return out
}

// SignerInfo tells which key signed the report (ABI table 23, offset 0x48).
type SignerInfo uint32

// KeyKind is the kind of key that signs reports.
type KeyKind uint8

// The kinds of signing key (ABI table 23, SIGNING_KEY).
const (
	// VCEK is the chip's own key.
	VCEK KeyKind = 0
	// VLEK is a key that AMD lends to a cloud provider.
	VLEK KeyKind = 1
	// noKey marks an unsigned report.
	noKey KeyKind = 7
)

// String returns VCEK, VLEK, or what else was found.
func (k KeyKind) String() string {
	switch k {
	case VCEK:
		return "VCEK"
	case VLEK:
		return "VLEK"
	case noKey:
		return "none"
	}
	return fmt.Sprintf("reserved(%d)", uint8(k))
}

// Kind returns the key that the report says it was signed with.
func (s SignerInfo) Kind() KeyKind { return KeyKind(s >> 2 & 7) }

// MaskChipKey tells that the host forbids signing with the VCEK.
func (s SignerInfo) MaskChipKey() bool { return s&2 != 0 }

// AuthorKey tells that the guest's id block was signed with an author key.
func (s SignerInfo) AuthorKey() bool { return s&1 != 0 }

func (s SignerInfo) check() error {
	if s>>5 != 0 {
		return fmt.Errorf("signer info 0x%x has reserved bits set", uint32(s))
	}
	return nil
}
