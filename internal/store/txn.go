package store

// CompareKind says what a Compare asks.
type CompareKind uint8

// The kinds of Compare; the zero kind is refused with ErrInvalid.
const (
	CompareModRevision CompareKind = iota + 1
	CompareExists
)

// Compare is a condition of a transaction. Make one with ModRevision or Exists.
type Compare struct {
	Kind CompareKind
	Key  string
	// Revision is the wanted ModRevision; 0 says that the key must not exist.
	Revision int64
}

// ModRevision holds if the record of key was last put at revision; with
// revision 0, if there is no such record.
func ModRevision(key string, revision int64) Compare {
	return Compare{Kind: CompareModRevision, Key: key, Revision: revision}
}

// Exists holds if there is a record of key, whatever its revision.
func Exists(key string) Compare {
	return Compare{Kind: CompareExists, Key: key}
}

// Check returns nil if c holds for a key whose ModRevision is have (0 if it
// does not exist), and a *ConflictError otherwise. Implementations of Store
// call it.
func (c Compare) Check(have int64) error {
	if c.Kind == CompareExists {
		if have != 0 {
			return nil
		}
		return &ConflictError{Key: c.Key, Want: AnyRevision, Have: have}
	}
	if c.Revision == have {
		return nil
	}
	return &ConflictError{Key: c.Key, Want: c.Revision, Have: have}
}

// OpKind says what an Op does.
type OpKind uint8

// The kinds of Op; the zero kind is refused with ErrInvalid.
const (
	OpPut OpKind = iota + 1
	OpDelete
)

// Op is one change of a transaction. Make one with Put or Delete.
type Op struct {
	Kind  OpKind
	Key   string
	Value []byte
}

// Put sets the value of key, creating the record if there is none.
func Put(key string, value []byte) Op {
	return Op{Kind: OpPut, Key: key, Value: value}
}

// Delete removes the record of key, if there is one.
func Delete(key string) Op {
	return Op{Kind: OpDelete, Key: key}
}
