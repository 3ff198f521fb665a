package application

import (
	"log/slog"

	"k8s.io/utils/clock"

	"github.com/sluice-cd/sluice/internal/adapter/settings"
	"github.com/sluice-cd/sluice/internal/controller/manifest"
	"github.com/sluice-cd/sluice/internal/server/link"
	"github.com/sluice-cd/sluice/internal/server/route"
	"github.com/sluice-cd/sluice/internal/server/store"
)

// Options of a Service.
type Options struct {
	Hub      *store.Hub
	Settings func() *settings.Snapshot
	// Manifests renders and Engine knows the target clusters; either gives nil
	// while this process reaches none.
	Manifests func() manifest.Renderer
	Engine    func() Engine
	// Links makes deep links.
	Links *link.Maker
	Log   *slog.Logger
	Clock clock.WithTicker
	// ReplaceAllowed lets requests ask for Replace=true
	// (--sync-with-replace-allowed).
	ReplaceAllowed bool
	// Strict refuses what begins a hold: a sync to another revision than the
	// target and a rollback of an Application that syncs by itself (--strict;
	// application.rollback.requireManualSync of argocd-cm does the same).
	Strict bool
}

// Service answers for Applications; it is safe for concurrent use.
type Service struct {
	Options
	// uploads has a place for each upload that may be held.
	uploads chan struct{}
}

// New makes a Service.
func New(o Options) *Service { return &Service{Options: o, uploads: make(chan struct{}, maxUploads)} }

func (s *Service) renderer() manifest.Renderer {
	if s.Manifests == nil {
		return nil
	}
	return s.Manifests()
}

// engine is nil until there is one; one that was given stays.
func (s *Service) engine() Engine {
	if s.Engine == nil {
		return nil
	}
	if e := s.Engine(); e != nil {
		return e
	}
	return nil
}

// paths of the routes.
const (
	base     = "/api/v1/applications"
	one      = base + "/{name}"
	streamed = "/api/v1/stream/applications"
	rpc      = "application.ApplicationService/"
	// appGet and its kind are checks in the form of route.Needs.
	appGet      = "applications/get"
	appCreate   = "applications/create"
	appUpdate   = "applications/update"
	appDelete   = "applications/delete"
	appSync     = "applications/sync"
	appOverride = "applications/override"
)

// Routes are all operations on Applications.
func (s *Service) Routes() route.Table {
	reads := route.Needs(appGet)
	table := route.Table{
		route.Unary(route.Spec{Method: "GET", Path: base, RPC: rpc + "List", Rule: route.Lists(appGet), Fields: true,
			Summary: "List Applications, sorted by name unless asked otherwise."}, s.List),
		route.Stream(route.Spec{Method: "GET", Path: streamed, RPC: rpc + "Watch", Rule: route.Lists(appGet), Fields: true,
			Summary: "Watch Applications."}, s.Watch),
		route.Unary(route.Spec{Method: "POST", Path: base, RPC: rpc + "Create", Rule: route.Needs(appCreate).And(appUpdate),
			Summary: "Create an Application."}, s.Create),
		route.Unary(route.Spec{Method: "GET", Path: one, RPC: rpc + "Get", Rule: reads,
			Summary: "Get an Application, after a refresh when asked."}, s.Get),
		route.Unary(route.Spec{Method: "PUT", Path: one, RPC: rpc + "Update", Rule: route.Needs(appUpdate).And(appGet, appCreate),
			Summary: "Replace spec, labels and annotations of an Application."}, s.Update),
		route.Unary(route.Spec{Method: "PUT", Path: one + "/spec", RPC: rpc + "UpdateSpec", Rule: route.Needs(appUpdate).And(appGet, appCreate),
			Summary: "Replace the spec of an Application."}, s.UpdateSpec),
		route.Unary(route.Spec{Method: "PATCH", Path: one, RPC: rpc + "Patch", Rule: route.Needs(appUpdate, appGet).And(appCreate),
			Summary: "Patch an Application."}, s.Patch),
		route.Unary(route.Spec{Method: "DELETE", Path: one, RPC: rpc + "Delete", Rule: route.Needs(appDelete, appGet),
			Summary: "Delete an Application, with what it manages unless cascade=false."}, s.Delete),
		route.Unary(route.Spec{Method: "POST", Path: one + "/sync", RPC: rpc + "Sync", MaxBody: 32 << 20, Rule: route.Needs(appGet, appSync).And(appOverride),
			Summary: "Begin a sync."}, s.Sync),
		route.Unary(route.Spec{Method: "POST", Path: one + "/rollback", RPC: rpc + "Rollback", Rule: route.Needs(appSync).And(appGet),
			Summary: "Begin a sync to what was deployed before."}, s.Rollback),
		route.Unary(route.Spec{Method: "POST", Path: one + "/resume", RPC: rpc + "Resume", Rule: route.Needs(appSync).And(appGet),
			Summary: "Release the hold of an Application."}, s.Resume),
		route.Unary(route.Spec{Method: "DELETE", Path: one + "/operation", RPC: rpc + "TerminateOperation", Rule: route.Needs(appSync).And(appGet),
			Summary: "End the running operation."}, s.Terminate),
		route.Unary(route.Spec{Method: "GET", Path: one + "/syncwindows", RPC: rpc + "GetApplicationSyncWindows", Rule: reads,
			Summary: "Sync windows that concern an Application."}, s.SyncWindows),
		route.Unary(route.Spec{Method: "GET", Path: one + "/manifests", RPC: rpc + "GetManifests", Rule: reads,
			Summary: "What Git says, rendered."}, s.GetManifests),
		route.Unary(route.Spec{Method: "POST", Path: "/api/v1/applications/manifestsWithFiles", RPC: rpc + "GetManifestsWithFiles", Rule: reads, Upload: true,
			MaxBody: 48 << 20, Summary: "Files of the caller, rendered; messages one a line: a query, then chunks of a tar."}, s.GetManifestsWithFiles),
		route.Unary(route.Spec{Method: "GET", Path: one + "/revisions/{revision}/metadata", RPC: rpc + "RevisionMetadata", Rule: reads,
			Summary: "Who made a commit, when, and why."}, s.RevisionMetadata),
		route.Unary(route.Spec{Method: "GET", Path: one + "/revisions/{revision}/chartdetails", RPC: rpc + "RevisionChartDetails", Rule: reads,
			Summary: "What a chart says of itself."}, s.ChartDetails),
		route.Unary(route.Spec{Method: "GET", Path: one + "/revisions/{revision}/ocimetadata", RPC: rpc + "GetOCIMetadata", Rule: reads,
			Summary: "What an OCI artifact says of itself."}, s.OCIMetadata),
		route.Unary(route.Spec{Method: "GET", Path: one + "/events", RPC: rpc + "ListResourceEvents", Rule: reads,
			Summary: "Events of an Application or of one of its resources."}, s.Events),
	}
	return append(append(table, s.liveRoutes()...), s.linkRoutes()...)
}
