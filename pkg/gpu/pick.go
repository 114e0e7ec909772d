package gpu

import (
	"cmp"
	"slices"
)

// pick chooses n of the free cards, sorted by address, or nil if no n of one
// model are free. All lists every card of the host, sorted by address. One
// NUMA node is preferred, the one with the fewest free cards that suffices.
func pick(all, free []GPU, n int) []GPU {
	group := tightest(free, n, func(a, b GPU) bool { return a.DeviceID == b.DeviceID && a.NUMANode == b.NUMANode })
	if group == nil {
		group = tightest(free, n, func(a, b GPU) bool { return a.DeviceID == b.DeviceID })
	}
	if group == nil {
		return nil
	}
	return neighbours(all, free, group, n)
}

// tightest groups cards by an equivalence and returns the smallest group of at
// least n, the one with the lowest address among equals.
func tightest(cards []GPU, n int, same func(a, b GPU) bool) []GPU {
	var groups [][]GPU
	for _, g := range cards {
		i := slices.IndexFunc(groups, func(group []GPU) bool { return same(group[0], g) })
		if i < 0 {
			groups = append(groups, []GPU{g})
			continue
		}
		groups[i] = append(groups[i], g)
	}
	groups = slices.DeleteFunc(groups, func(group []GPU) bool { return len(group) < n })
	if len(groups) == 0 {
		return nil
	}
	return slices.MinFunc(groups, func(a, b []GPU) int {
		return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a[0].BDF, b[0].BDF))
	})
}

// neighbours chooses n of the group: an aligned run of n slots that leaves the
// largest free runs whole, as a buddy allocator does; else any run; else the
// lowest addresses. A slot is a card's place among all cards of the host.
func neighbours(all, free, group []GPU, n int) []GPU {
	isFree, inGroup := slots(all, free), slots(all, group)
	start, smallest := -1, 0
	for at := 0; at+n <= len(all); at += n {
		if !whole(inGroup, at, n) {
			continue
		}
		if size := freeBlock(isFree, at, n); start < 0 || size < smallest {
			start, smallest = at, size
		}
	}
	for at := 0; at+n <= len(all) && start < 0; at++ {
		if whole(inGroup, at, n) {
			start = at
		}
	}
	if start < 0 {
		return slices.Clone(group[:n])
	}
	return slices.Clone(all[start : start+n])
}

// slots marks which of all cards are among some.
func slots(all, some []GPU) []bool {
	in := make(map[BDF]bool, len(some))
	for _, g := range some {
		in[g.BDF] = true
	}
	marks := make([]bool, len(all))
	for i, g := range all {
		marks[i] = in[g.BDF]
	}
	return marks
}

// freeBlock returns the size of the largest wholly free aligned block, doubled
// from n, that contains the block at slot at.
func freeBlock(free []bool, at, n int) int {
	size := n
	for {
		next := size * 2
		from := at - at%next
		if from+next > len(free) || !whole(free, from, next) {
			return size
		}
		size = next
	}
}

// whole reports whether n marks from slot at on are set.
func whole(marks []bool, at, n int) bool {
	return !slices.Contains(marks[at:at+n], false)
}
