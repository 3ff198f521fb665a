package syncplan

import (
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// Mode is the way an object is written (spec/sync.md §7).
type Mode string

// The modes. ServerSide is the default of Sluice.
const (
	ServerSide Mode = "server-side"
	ClientSide Mode = "client-side"
	Replace    Mode = "replace"
)

// Manner is how one object is written, as its sync options ask.
type Manner struct {
	Mode Mode
	// Force deletes and recreates what cannot be changed in place; with
	// Replace it does so always.
	Force bool
	// Validate refuses fields that the schema does not have.
	Validate bool
	// Migrate takes over what client-side tools own, before the first
	// server-side apply; Managers are tools beside the usual ones.
	Migrate  bool
	Managers []string
}

// AnnotationMigrationManager of an Application names a further client-side manager.
const AnnotationMigrationManager = "argocd.argoproj.io/client-side-apply-migration-manager"

// MannerOf reads the sync options of an Application and of an object, of
// which live may be nil (spec/sync.md §8). What an object says wins; Replace
// wins over ServerSideApply, and Force needs a client-side apply.
func MannerOf(target, live *unstructured.Unstructured, options []string, force bool) Manner {
	m := Manner{
		Mode: ServerSide, Migrate: !slices.Contains(options, "ClientSideApplyMigration=false"),
		Validate: !slices.Contains(options, "Validate=false") && !Option(target, "Validate=false"),
		Force:    force || Option(target, "Force=true") || Option(live, "Force=true"),
	}
	if choose("ServerSideApply", options, target) == no {
		m.Mode = ClientSide
	}
	if m.Force {
		m.Mode = ClientSide
	}
	if choose("Replace", options, target) == yes || Option(live, "Replace=true") && !Option(target, "Replace=false") {
		m.Mode = Replace
	}
	return m
}

// Comparison is the manner in which the outcome of this one is predicted: a
// replacement is compared like a client-side apply, for what others added is
// no drift. Fields that the schema does not have change nothing; to refuse
// them is the business of a sync.
func (m Manner) Comparison() Manner {
	if m.Mode == Replace {
		m.Mode = ClientSide
	}
	m.Force, m.Validate = false, false
	return m
}

type choice int

const (
	unsaid choice = iota
	yes
	no
)

// choose reads name=true and name=false; what the object says wins.
func choose(name string, options []string, target *unstructured.Unstructured) choice {
	switch {
	case Option(target, name+"=true"):
		return yes
	case Option(target, name+"=false"):
		return no
	case slices.Contains(options, name+"=true"):
		return yes
	case slices.Contains(options, name+"=false"):
		return no
	}
	return unsaid
}
