package tdx

import (
	"testing"
	"time"
)

func TestMemoKeepsNoMoreThanItsLimitAndDropsTheLongestUnused(t *testing.T) {
	m := newMemo[int](2)
	at := time.Unix(0, 0)
	keys := []digest{{1}, {2}, {3}}
	m.put(keys[0], 10, at.Add(time.Hour))
	m.put(keys[1], 20, at.Add(time.Hour))
	if _, ok := m.get(keys[0], at); !ok {
		t.Fatal("the first entry is gone too early")
	}
	m.put(keys[2], 30, at.Add(time.Hour))
	if _, ok := m.get(keys[1], at); ok || m.len() != 2 {
		t.Errorf("the longest unused entry was kept: %d entries", m.len())
	}
	if v, ok := m.get(keys[0], at); !ok || v != 10 {
		t.Errorf("a used entry was dropped: %d %v", v, ok)
	}
}

func TestMemoDropsWhatHasEnded(t *testing.T) {
	m := newMemo[int](2)
	at := time.Unix(0, 0)
	m.put(digest{1}, 10, at)
	if _, ok := m.get(digest{1}, at); !ok {
		t.Error("an entry ended before its end")
	}
	if _, ok := m.get(digest{1}, at.Add(1)); ok || m.len() != 0 {
		t.Error("an entry that has ended was kept")
	}
}

func TestMemoReplacesAndForgets(t *testing.T) {
	m := newMemo[int](2)
	at := time.Unix(0, 0)
	m.put(digest{1}, 10, at)
	m.put(digest{1}, 11, at)
	if v, _ := m.get(digest{1}, at); v != 11 || m.len() != 1 {
		t.Errorf("got %d with %d entries, expected the replacement alone", v, m.len())
	}
	m.drop(digest{1})
	m.drop(digest{2})
	if m.len() != 0 {
		t.Error("a dropped entry was kept")
	}
}

func TestDigestsTellPartsApart(t *testing.T) {
	if digestOf([]byte("ab"), []byte("c")) == digestOf([]byte("a"), []byte("bc")) {
		t.Error("moving a byte from one part to the next gives the same digest")
	}
	if digestOf([]byte("a")) == digestOf([]byte("a"), nil) {
		t.Error("an empty part gives the same digest as none")
	}
}
