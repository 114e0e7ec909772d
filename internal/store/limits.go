package store

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Limits of every Store. They keep one record well below what a gRPC message
// carries and one transaction below what may sit in memory several times over.
const (
	// MaxKeyBytes is the greatest length of a key or prefix.
	MaxKeyBytes = 512
	// MaxValueBytes is the greatest length of a value.
	MaxValueBytes = 1 << 20
	// MaxOps is the greatest number of ops in a transaction, and of compares.
	MaxOps = 1024
	// MaxTxnBytes bounds the keys and values of one transaction together.
	MaxTxnBytes = 16 << 20
)

// RestoreLeap is how far the revision leaps when a backup is restored: further
// than a store goes in the time between two backups, and 8,000 times less than
// what the numbering of events leaves room for (2^53 revisions).
const RestoreLeap = 1 << 40

// CheckKey returns ErrTooLarge or ErrInvalid unless key is 1 to MaxKeyBytes
// bytes of printable UTF-8.
func CheckKey(key string) error {
	if key == "" {
		return fmt.Errorf("%w: key is empty", ErrInvalid)
	}
	return CheckPrefix(key)
}

// CheckPrefix is CheckKey for a prefix or a page's After, which may be empty.
func CheckPrefix(prefix string) error {
	if len(prefix) > MaxKeyBytes {
		return fmt.Errorf("%w: key of %d bytes, limit is %d", ErrTooLarge, len(prefix), MaxKeyBytes)
	}
	if !printable(prefix) {
		return fmt.Errorf("%w: key %q is not printable UTF-8", ErrInvalid, prefix)
	}
	return nil
}

func printable(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return utf8.ValidString(s) && strings.IndexFunc(s, unprintable) < 0
		}
		if s[i] < ' ' || s[i] == 0x7f {
			return false
		}
	}
	return true
}

func unprintable(r rune) bool { return !unicode.IsPrint(r) }

// CheckList returns ErrTooLarge or ErrInvalid if the arguments of a listing are
// outside the limits.
func CheckList(prefix string, opts ListOptions) error {
	if err := CheckPrefix(prefix); err != nil {
		return err
	}
	if opts.Limit < 0 {
		return fmt.Errorf("%w: limit %d is negative", ErrInvalid, opts.Limit)
	}
	return CheckPrefix(opts.After)
}

// CheckWatch returns ErrTooLarge or ErrInvalid if the arguments of a watch are
// outside the limits.
func CheckWatch(prefix string, from int64) error {
	if from < 0 {
		return fmt.Errorf("%w: watch from revision %d", ErrInvalid, from)
	}
	return CheckPrefix(prefix)
}

// CheckTxn returns ErrTooLarge or ErrInvalid if a transaction is outside the
// limits or has two ops on one key.
func CheckTxn(compares []Compare, ops []Op) error {
	if len(compares) > MaxOps || len(ops) > MaxOps {
		return fmt.Errorf("%w: transaction of %d compares and %d ops, limit is %d each", ErrTooLarge, len(compares), len(ops), MaxOps)
	}
	for _, c := range compares {
		if err := checkCompare(c); err != nil {
			return err
		}
	}
	total := 0
	for _, op := range ops {
		if err := checkOp(op); err != nil {
			return err
		}
		total += len(op.Key) + len(op.Value)
	}
	if total > MaxTxnBytes {
		return fmt.Errorf("%w: transaction of %d bytes, limit is %d", ErrTooLarge, total, MaxTxnBytes)
	}
	return checkDistinct(ops)
}

func checkCompare(c Compare) error {
	if c.Kind != CompareModRevision && c.Kind != CompareExists {
		return fmt.Errorf("%w: compare on %q has no kind", ErrInvalid, c.Key)
	}
	if c.Revision < 0 {
		return fmt.Errorf("%w: compare on %q wants revision %d", ErrInvalid, c.Key, c.Revision)
	}
	return CheckKey(c.Key)
}

func checkOp(op Op) error {
	if op.Kind != OpPut && op.Kind != OpDelete {
		return fmt.Errorf("%w: op on %q has no kind", ErrInvalid, op.Key)
	}
	if len(op.Value) > MaxValueBytes {
		return fmt.Errorf("%w: value of %q has %d bytes, limit is %d", ErrTooLarge, op.Key, len(op.Value), MaxValueBytes)
	}
	return CheckKey(op.Key)
}

// checkDistinct compares pairs in small transactions, which are nearly all, and
// spares them the map.
func checkDistinct(ops []Op) error {
	if len(ops) <= 8 {
		for i := range ops {
			for j := range i {
				if ops[i].Key == ops[j].Key {
					return duplicate(ops[i].Key)
				}
			}
		}
		return nil
	}
	seen := make(map[string]struct{}, len(ops))
	for _, op := range ops {
		if _, ok := seen[op.Key]; ok {
			return duplicate(op.Key)
		}
		seen[op.Key] = struct{}{}
	}
	return nil
}

func duplicate(key string) error {
	return fmt.Errorf("%w: two ops on %q in one transaction", ErrInvalid, key)
}
