package rpc

import (
	"encoding/base64"
	"strings"
)

// Page sizes of listings.
const (
	DefaultPage = 100
	MaxPage     = 1000
)

// PageSize returns how many items a page holds for the size that was asked for.
func PageSize(asked int32) int {
	switch {
	case asked <= 0:
		return DefaultPage
	case asked > MaxPage:
		return MaxPage
	}
	return int(asked)
}

// tokenMark begins every page token, so that tokens of something else are
// refused rather than misread.
const tokenMark = "p1:"

// PageToken hides the key after which the next page begins.
func PageToken(scope, after string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(tokenMark + scope + "\x00" + after))
}

// PageAfter returns the key in a page token that was made for this scope.
func PageAfter(scope, token string) (string, error) {
	if token == "" {
		return "", nil
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(token)
	if err != nil {
		return "", badToken()
	}
	rest, ok := strings.CutPrefix(string(raw), tokenMark+scope+"\x00")
	// Only what PageToken writes is taken: the decoder passes over line ends.
	if !ok || PageToken(scope, rest) != token {
		return "", badToken()
	}
	return rest, nil
}

func badToken() error {
	return FieldError("page_token", "BAD_PAGE_TOKEN", "the page token is not one of this listing: begin again without it")
}
