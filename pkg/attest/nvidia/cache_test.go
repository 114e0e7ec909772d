package nvidia

import (
	"sync"
	"testing"
	"time"
)

func key(n byte) digest { return digest{n} }

func TestCache(t *testing.T) {
	now := time.Unix(1000, 0)
	later := now.Add(time.Hour)

	t.Run("holds no more than its bound", func(t *testing.T) {
		c := newCache[int](3)
		for n := range byte(10) {
			c.put(key(n), int(n), later)
		}
		if c.len() != 3 {
			t.Errorf("%d entries, want 3", c.len())
		}
	})
	t.Run("forgets what was used least recently", func(t *testing.T) {
		c := newCache[int](2)
		c.put(key(1), 1, later)
		c.put(key(2), 2, later)
		c.get(key(1), now)
		c.put(key(3), 3, later)
		if _, ok := c.get(key(1), now); !ok {
			t.Error("the entry used last was forgotten")
		}
		if _, ok := c.get(key(2), now); ok {
			t.Error("the entry used least was kept")
		}
	})
	t.Run("drops what has expired", func(t *testing.T) {
		c := newCache[int](2)
		c.put(key(1), 1, later)
		if _, ok := c.get(key(1), later); !ok {
			t.Error("an entry is valid up to its last second")
		}
		if _, ok := c.get(key(1), later.Add(time.Second)); ok || c.len() != 0 {
			t.Errorf("an expired entry was given out or kept; %d entries", c.len())
		}
	})
	t.Run("a second put replaces", func(t *testing.T) {
		c := newCache[int](2)
		c.put(key(1), 1, later)
		c.put(key(1), 2, later)
		if v, _ := c.get(key(1), now); v != 2 || c.len() != 1 {
			t.Errorf("value %d in %d entries, want 2 in 1", v, c.len())
		}
	})
}

func TestCacheIsSafeForConcurrentUse(t *testing.T) {
	c := newCache[byte](8)
	var wg sync.WaitGroup
	for g := range byte(4) {
		wg.Go(func() {
			for i := range byte(200) {
				k := (g + i) % 16
				if v, ok := c.get(key(k), time.Time{}); ok && v != k {
					t.Errorf("key %d gave %d", k, v)
				}
				c.put(key(k), k, time.Unix(0, 0))
			}
		})
	}
	wg.Wait()
	if c.len() > 8 {
		t.Errorf("%d entries, want at most 8", c.len())
	}
}
