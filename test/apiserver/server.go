package apiserver

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

type object = map[string]any

// State is what the server holds. Objects are as the API shows them.
type State struct {
	Applications    []object            `json:"applications"`
	ApplicationSets []object            `json:"applicationsets"`
	Projects        []object            `json:"projects"`
	Clusters        []object            `json:"clusters"`
	Repositories    []object            `json:"repositories"`
	Certificates    []object            `json:"certificates"`
	Accounts        []object            `json:"accounts"`
	RepoCreds       []object            `json:"repocreds"`
	GPGKeys         []object            `json:"gpgkeys"`
	Settings        object              `json:"settings"`
	Version         object              `json:"version"`
	UserInfo        object              `json:"userinfo"`
	Trees           map[string]object   `json:"trees"`
	Managed         map[string][]object `json:"managed"`
	Manifests       map[string][]string `json:"manifests"`
	Windows         map[string]object   `json:"windows"`
	Events          map[string][]object `json:"events"`
	Actions         map[string][]object `json:"actions"`
	Logs            map[string][]string `json:"logs"`
	Rollouts        map[string]object   `json:"rollouts"`
	Plans           map[string]object   `json:"plans"`
	// Play are merge patches that an Application goes through after a sync.
	Play map[string][]object `json:"play"`
	// RolloutPlay are merge patches that a rollout goes through while somebody
	// watches ApplicationSets, one each time it is read.
	RolloutPlay map[string][]object `json:"rolloutPlay"`
	// Fail answers with an error: "GET /api/v1/applications": {code, message}.
	Fail map[string]object `json:"fail"`
	// Token that requests must show; empty is none.
	Token    string `json:"token"`
	Username string `json:"username"`
	// NewToken is what whoever asks for a token gets.
	NewToken string `json:"newToken"`
	Password string `json:"password"`
	// RootPath below which everything is.
	RootPath string `json:"rootPath"`
}

// Server is an http.Handler.
type Server struct {
	mu       sync.Mutex
	state    State
	version  int
	watchers map[chan object]string
	playing  map[string]bool // synced, not yet read
	ready    map[string]bool // synced and read: it may play
	// Requests are method and path of all requests, in order.
	requests []string
	bodies   map[string][]byte
	mux      *http.ServeMux
}

// Load makes a server of YAML.
func Load(text []byte) (*Server, error) {
	s := &Server{watchers: map[chan object]string{}, playing: map[string]bool{}, ready: map[string]bool{}, version: 100, bodies: map[string][]byte{}}
	if err := yaml.UnmarshalStrict(text, &s.state); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	for _, a := range s.state.Applications {
		s.touch(a)
	}
	s.routes()
	return s, nil
}

// Requests are method and path with query of all requests so far.
func (s *Server) Requests() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Body of the last request with this method and path.
func (s *Server) Body(request string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies[request]
}

func meta(o object) object {
	m, _ := o["metadata"].(object)
	if m == nil {
		m = object{}
		o["metadata"] = m
	}
	return m
}

func name(o object) string {
	n, _ := meta(o)["name"].(string)
	return n
}

func (s *Server) touch(o object) {
	s.version++
	meta(o)["resourceVersion"] = strconv.Itoa(s.version)
}

// find finds an object by its name.
func find(all []object, n string) object {
	for _, o := range all {
		if name(o) == n {
			return o
		}
	}
	return nil
}

func copied(o object) object {
	raw, err := json.Marshal(o)
	if err != nil {
		panic(err) // it came from JSON
	}
	var out object
	if err := json.Unmarshal(raw, &out); err != nil {
		panic(err) // it was just written
	}
	return out
}

// merge applies a merge patch.
func merge(into, patch object) {
	for k, v := range patch {
		p, isMap := v.(object)
		switch old, was := into[k].(object); {
		case v == nil:
			delete(into, k)
		case isMap && was:
			merge(old, p)
		default:
			into[k] = v
		}
	}
}

type failure struct {
	status, code int
	message      string
}

func (f failure) Error() string { return f.message }

func missing(what string) error { return failure{404, 5, what + " not found"} }

// denied is what is forbidden, or not there.
var denied = failure{403, 7, "permission denied"}

// ServeHTTP answers.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.state.RootPath != "" {
		http.StripPrefix("/"+s.state.RootPath, http.HandlerFunc(s.serve)).ServeHTTP(w, r)
		return
	}
	s.serve(w, r)
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r.Method+" "+r.URL.RequestURI())
	fail := s.state.Fail[r.Method+" "+r.URL.Path]
	s.mu.Unlock()
	open := r.URL.Path == "/api/v1/session" || r.URL.Path == "/api/v1/settings" || r.URL.Path == "/api/version"
	switch {
	case r.Method != http.MethodGet && strings.HasPrefix(r.URL.Path, "/api/") && r.Header.Get("Content-Type") != "application/json":
		http.Error(w, "Invalid content type", http.StatusUnsupportedMediaType)
		return
	case s.state.Token != "" && !open && r.Header.Get("Authorization") != "Bearer "+s.state.Token:
		refuse(w, failure{401, 16, "no session information"})
		return
	case fail != nil:
		status, _ := fail["status"].(float64)
		code, _ := fail["code"].(float64)
		refuse(w, failure{int(status), int(code), fmt.Sprint(fail["message"])})
		return
	}
	s.mux.ServeHTTP(w, r)
}

func refuse(w http.ResponseWriter, err error) {
	f, ok := err.(failure)
	if !ok {
		f = failure{500, 2, err.Error()}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(f.status)
	_ = json.NewEncoder(w).Encode(object{"error": f.message, "message": f.message, "code": f.code})
}

// answer adds a route whose function runs alone.
func (s *Server) answer(pattern string, f func(r *http.Request, body object) (any, error)) {
	s.mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			refuse(w, err)
			return
		}
		s.mu.Lock()
		s.bodies[r.Method+" "+r.URL.Path] = raw
		body := object{}
		_ = json.Unmarshal(raw, &body) // a body that is a text is read by bodies
		out, err := f(r, body)
		var text []byte
		if err == nil {
			text, err = json.Marshal(out)
		}
		s.mu.Unlock()
		if err != nil {
			refuse(w, err)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(text)
	})
}

func items(all []object) object {
	out := slices.Clone(all)
	if out == nil {
		out = []object{}
	}
	return object{"metadata": object{}, "items": out}
}

// publish tells watchers; s.mu is held.
func (s *Server) publish(kind string, app object) {
	for ch, n := range s.watchers {
		if n == "" || n == name(app) {
			ch <- object{"type": kind, "application": copied(app)}
		}
	}
}

// play goes through the states of an Application after a sync, once somebody
// has read it and somebody watches; s.mu is held.
func (s *Server) play(n string) {
	if !s.ready[n] || !slices.Contains(slices.Collect(maps.Values(s.watchers)), n) {
		return
	}
	s.ready[n] = false
	app := find(s.state.Applications, n)
	for _, patch := range s.state.Play[n] {
		if app == nil {
			return
		}
		if patch["deleted"] == true {
			s.state.Applications = slices.DeleteFunc(s.state.Applications, func(o object) bool { return name(o) == n })
			s.publish("DELETED", app)
			return
		}
		merge(app, copied(patch))
		s.touch(app)
		s.publish("MODIFIED", app)
	}
}

// sets is what streams of ApplicationSets listen to; no Application is called so.
const sets = "ApplicationSets"

// goOn moves a rollout on when somebody watches, and says when it has more to
// show; s.mu is held.
func (s *Server) goOn(n string) {
	play := s.state.RolloutPlay[n]
	if len(play) == 0 || !slices.Contains(slices.Collect(maps.Values(s.watchers)), sets) {
		return
	}
	merge(s.state.Rollouts[n], copied(play[0]))
	s.state.RolloutPlay[n] = play[1:]
	if len(play) > 1 {
		s.tell()
	}
}

// tell says to all who watch ApplicationSets that one has changed; s.mu is held.
func (s *Server) tell() {
	for ch, n := range s.watchers {
		if n == sets {
			ch <- object{"type": "MODIFIED", "applicationSet": object{}}
		}
	}
}

// stream sends messages until the client goes; what begins it runs once the
// stream listens.
func (s *Server) stream(w http.ResponseWriter, r *http.Request, n string, begin func()) {
	ch := make(chan object, 1024)
	s.mu.Lock()
	s.watchers[ch] = n
	begin()
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.watchers, ch)
		s.mu.Unlock()
	}()
	w.Header().Set("Content-Type", "text/event-stream")
	flush := http.NewResponseController(w)
	_ = flush.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case m := <-ch:
			if !send(w, m) || flush.Flush() != nil {
				return
			}
		}
	}
}

func send(w io.Writer, m any) bool {
	raw, err := json.Marshal(object{"result": m})
	if err != nil {
		return false
	}
	_, err = fmt.Fprintf(w, "data: %s \n\n", raw)
	return err == nil
}
