// Package gitserver makes Git repositories and serves them over HTTP, with the
// programs of the real git: "git http-backend" answers clients and
// "git fast-import" writes commits. The demo, the benchmarks and the tests
// share it; it needs no *testing.T and no work tree.
//
//	s, err := gitserver.New(dir, gitserver.Options{})
//	r, err := s.Create("shop")
//	id, err := r.Commit("first", gitserver.Files{"web/app.yaml": "..."})
//	// git clone s.URL("shop")
package gitserver
