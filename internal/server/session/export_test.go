package session

import "net/http"

// TokenOf is the lookup of tokens, for tests.
func TokenOf(r *http.Request) string {
	token, _, _ := tokenOf(r)
	return token
}
