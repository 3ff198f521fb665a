// Package apiserver answers like the REST API of a server (spec/api.md), from a
// file of objects: the command line and its client are tested against it where
// the answer must be the same each time. It shares no code with either side, so
// that a mistake of one does not hide in the other.
package apiserver
