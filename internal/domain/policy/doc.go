// Package policy answers what a project allows: which repositories may be
// read, which clusters and namespaces may be written to, and which kinds of
// objects may be managed there. It is the one implementation of these rules;
// controllers, server and command line all ask here.
//
// Rules come from spec/application.md §13 of the format's description. All
// functions are pure; a denial is a value that names what was refused.
package policy
