// Package nearest finds the word that somebody probably meant.
package nearest

import "strings"

// maxWord bounds the words compared: the work grows with the square of it.
const maxWord = 64

// Word returns the candidate closest to word, or "" when none is close enough
// to be a likely slip: the same letters in another case or with other
// separators, or at most a third of them changed. Ties go to the earlier
// candidate.
func Word(word string, candidates []string) string {
	if len(word) == 0 || len(word) > maxWord {
		return ""
	}
	best, bestDistance := "", len(word)/3+1
	for _, c := range candidates {
		if len(c) > maxWord {
			continue
		}
		if plain(c) == plain(word) {
			return c
		}
		if d := distance(word, c); d < bestDistance {
			best, bestDistance = c, d
		}
	}
	return best
}

func plain(s string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(s))
}

// distance is the optimal string alignment distance: insertions, deletions,
// substitutions and swaps of neighbours each count one.
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range prev {
		prev[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row[0] = i
		for j := 1; j <= len(b); j++ {
			change := 1
			if a[i-1] == b[j-1] {
				change = 0
			}
			row[j] = min(prev[j]+1, row[j-1]+1, prev[j-1]+change)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, prev, row = prev, row, before
	}
	return prev[len(b)]
}
