package apiserver

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
)

func (s *Server) routes() {
	s.mux = http.NewServeMux()
	s.applications()
	s.changes()
	s.watches()
	s.objects()
	s.sets()
	s.others()
}

func (s *Server) app(r *http.Request) (object, error) {
	if a := find(s.state.Applications, r.PathValue("name")); a != nil {
		if ns := r.URL.Query().Get("appNamespace"); ns == "" || ns == meta(a)["namespace"] {
			return a, nil
		}
	}
	return nil, denied
}

func project(a object) string {
	spec, _ := a["spec"].(object)
	p, _ := spec["project"].(string)
	return p
}

func (s *Server) selected(r *http.Request) []object {
	q := r.URL.Query()
	out := []object{}
	for _, a := range s.state.Applications {
		labels, _ := meta(a)["labels"].(object)
		fits := (len(q["projects"]) == 0 || slices.Contains(q["projects"], project(a))) && (q.Get("appNamespace") == "" || q.Get("appNamespace") == meta(a)["namespace"])
		for _, pair := range strings.Split(q.Get("selector"), ",") {
			if k, v, ok := strings.Cut(pair, "="); ok {
				fits = fits && labels[k] == v
			}
		}
		if fits {
			out = append(out, a)
		}
	}
	return out
}

func (s *Server) applications() {
	const base, one = "/api/v1/applications", "/api/v1/applications/{name}"
	s.answer("GET "+base, func(r *http.Request, _ object) (any, error) { return items(s.selected(r)), nil })
	s.answer("POST "+base, func(r *http.Request, body object) (any, error) {
		if old := find(s.state.Applications, name(body)); old != nil {
			if r.URL.Query().Get("upsert") != "true" && !same(old["spec"], body["spec"]) {
				return nil, failure{400, 3, "existing application spec is different, use upsert flag to force update"}
			}
			old["spec"] = body["spec"]
			s.touch(old)
			return old, nil
		}
		delete(body, "status")
		if meta(body)["namespace"] == nil {
			meta(body)["namespace"] = "argocd"
		}
		s.touch(body)
		s.state.Applications = append(s.state.Applications, body)
		return body, nil
	})
	s.answer("GET "+one, func(r *http.Request, _ object) (any, error) {
		a, err := s.app(r)
		if err == nil {
			n := name(a)
			answer := copied(a)
			if s.playing[n] {
				s.playing[n], s.ready[n] = false, true
				s.play(n)
			}
			return answer, nil
		}
		return a, err
	})
}

// changes are the routes that change an Application.
func (s *Server) changes() {
	const one = "/api/v1/applications/{name}"
	s.answer("PUT "+one, func(r *http.Request, body object) (any, error) {
		a, err := s.app(r)
		if err == nil {
			a["spec"], a["metadata"] = body["spec"], body["metadata"]
			s.touch(a)
		}
		return a, err
	})
	s.answer("PUT "+one+"/spec", func(r *http.Request, body object) (any, error) {
		a, err := s.app(r)
		if err != nil {
			return nil, err
		}
		a["spec"] = body
		s.touch(a)
		return body, nil
	})
	s.answer("PATCH "+one, func(r *http.Request, body object) (any, error) {
		a, err := s.app(r)
		if err != nil {
			return nil, err
		}
		patch := object{}
		if body["patchType"] != "merge" {
			return nil, failure{400, 3, "this server takes merge patches"}
		}
		text, _ := body["patch"].(string)
		if err := json.Unmarshal([]byte(text), &patch); err != nil {
			return nil, failure{400, 3, err.Error()}
		}
		merge(a, patch)
		s.touch(a)
		return a, nil
	})
	s.answer("DELETE "+one, func(r *http.Request, _ object) (any, error) {
		a, err := s.app(r)
		if err == nil {
			s.state.Applications = slices.DeleteFunc(s.state.Applications, func(o object) bool { return name(o) == name(a) })
			s.publish("DELETED", a)
		}
		return object{}, err
	})
	for _, verb := range []string{"/sync", "/rollback"} {
		s.answer("POST "+one+verb, func(r *http.Request, _ object) (any, error) {
			a, err := s.app(r)
			if err != nil {
				return nil, err
			}
			a["operation"] = object{"sync": object{}}
			s.touch(a)
			s.playing[name(a)] = true
			return a, nil
		})
	}
	s.answer("POST "+one+"/resume", func(r *http.Request, _ object) (any, error) {
		a, err := s.app(r)
		if err != nil {
			return nil, err
		}
		status, _ := a["status"].(object)
		if status["hold"] == nil {
			return nil, failure{400, 9, "application " + r.PathValue("name") + " holds nothing: there is nothing to resume"}
		}
		delete(status, "hold")
		s.publish("MODIFIED", a)
		return a, nil
	})
	s.answer("DELETE "+one+"/operation", func(r *http.Request, _ object) (any, error) {
		a, err := s.app(r)
		if err == nil && a["operation"] == nil {
			err = failure{400, 3, "Unable to terminate operation. No operation is in progress"}
		}
		return object{}, err
	})
}

func (s *Server) watches() {
	s.mux.HandleFunc("GET /api/v1/stream/applications", func(w http.ResponseWriter, r *http.Request) {
		n := r.URL.Query().Get("name")
		s.stream(w, r, n, func() {
			for _, a := range s.selected(r) {
				if n == "" || name(a) == n {
					s.publish("ADDED", a)
				}
			}
			s.play(n)
		})
	})
}

func same(a, b any) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && string(x) == string(y)
}

func (s *Server) objects() {
	const one = "/api/v1/applications/{name}"
	about := func(path string, f func(n string, r *http.Request) any) {
		s.answer("GET "+one+path, func(r *http.Request, _ object) (any, error) {
			a, err := s.app(r)
			if err != nil {
				return nil, err
			}
			return f(name(a), r), nil
		})
	}
	about("/resource-tree", func(n string, _ *http.Request) any { return s.state.Trees[n] })
	about("/managed-resources", func(n string, _ *http.Request) any { return items(s.state.Managed[n]) })
	about("/manifests", func(n string, r *http.Request) any {
		if revision := r.URL.Query().Get("revision"); revision != "" {
			n += "@" + revision
		}
		return object{"manifests": s.state.Manifests[n]}
	})
	s.answer("POST /api/v1/applications/manifestsWithFiles", s.upload)
	about("/syncwindows", func(n string, _ *http.Request) any {
		if w := s.state.Windows[n]; w != nil {
			return w
		}
		return object{"canSync": true}
	})
	about("/events", func(n string, r *http.Request) any {
		if o := r.URL.Query().Get("resourceName"); o != "" {
			n = o
		}
		return items(s.state.Events[n])
	})
	about("/resource/actions", func(_ string, r *http.Request) any {
		return object{"actions": s.state.Actions[r.URL.Query().Get("kind")]}
	})
	s.answer("GET "+one+"/resource", func(r *http.Request, _ object) (any, error) {
		for _, m := range s.state.Managed[r.PathValue("name")] {
			if m["kind"] == r.URL.Query().Get("kind") && m["name"] == r.URL.Query().Get("resourceName") {
				return object{"manifest": m["liveState"]}, nil
			}
		}
		return nil, failure{400, 3, "not found as part of application"}
	})
	for _, pattern := range []string{"POST " + one + "/resource", "DELETE " + one + "/resource", "POST " + one + "/resource/actions/v2"} {
		s.answer(pattern, func(r *http.Request, _ object) (any, error) {
			_, err := s.app(r)
			return object{"manifest": "{}"}, err
		})
	}
	s.mux.HandleFunc("GET "+one+"/logs", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, line := range s.state.Logs[r.PathValue("name")] {
			send(w, object{"content": line, "podName": "pod"})
		}
		send(w, object{"last": true})
	})
}

func (s *Server) sets() {
	const base, one = "/api/v1/applicationsets", "/api/v1/applicationsets/{name}"
	set := func(r *http.Request) (object, error) {
		if a := find(s.state.ApplicationSets, r.PathValue("name")); a != nil {
			return a, nil
		}
		return nil, missing("ApplicationSet " + r.PathValue("name"))
	}
	s.answer("GET "+base, func(*http.Request, object) (any, error) { return items(s.state.ApplicationSets), nil })
	s.answer("POST "+base, func(_ *http.Request, body object) (any, error) {
		s.state.ApplicationSets = append(s.state.ApplicationSets, body)
		return body, nil
	})
	s.answer("POST "+base+"/generate", func(*http.Request, object) (any, error) {
		return object{"applications": s.state.Applications}, nil
	})
	s.answer("GET "+one, func(r *http.Request, _ object) (any, error) { return set(r) })
	s.answer("DELETE "+one, func(r *http.Request, _ object) (any, error) {
		a, err := set(r)
		if err == nil {
			s.state.ApplicationSets = slices.DeleteFunc(s.state.ApplicationSets, func(o object) bool { return name(o) == name(a) })
		}
		return object{}, err
	})
	s.answer("GET "+one+"/rollout", func(r *http.Request, _ object) (any, error) {
		if v := s.state.Rollouts[r.PathValue("name")]; v != nil {
			s.goOn(r.PathValue("name"))
			return v, nil
		}
		return nil, missing("rollout")
	})
	s.answer("GET "+one+"/rollout/plan", func(r *http.Request, _ object) (any, error) { return s.state.Plans[r.PathValue("name")], nil })
	s.answer("POST "+one+"/rollout/{verb}", func(r *http.Request, _ object) (any, error) {
		_, err := set(r)
		return object{}, err
	})
	s.mux.HandleFunc("GET /api/v1/stream/applicationsets", func(w http.ResponseWriter, r *http.Request) {
		s.stream(w, r, sets, func() {
			if len(s.state.RolloutPlay) > 0 {
				s.tell()
			}
		})
	})
}

func (s *Server) others() {
	s.answer("GET /api/v1/settings", func(*http.Request, object) (any, error) { return s.state.Settings, nil })
	s.answer("GET /api/version", func(*http.Request, object) (any, error) { return s.state.Version, nil })
	s.answer("GET /api/v1/session/userinfo", func(*http.Request, object) (any, error) { return s.state.UserInfo, nil })
	s.answer("POST /api/v1/session", func(_ *http.Request, body object) (any, error) {
		if body["username"] != s.state.Username || body["password"] != s.state.Password {
			return nil, failure{401, 16, "Invalid username or password"}
		}
		return object{"token": s.state.Token}, nil
	})
	s.answer("POST /auth/logout", func(*http.Request, object) (any, error) { return object{}, nil })
	lists := map[string]*[]object{
		"clusters": &s.state.Clusters, "repositories": &s.state.Repositories, "certificates": &s.state.Certificates, "account": &s.state.Accounts, "projects": &s.state.Projects,
		"repocreds": &s.state.RepoCreds, "gpgkeys": &s.state.GPGKeys,
	}
	for path, all := range lists {
		s.answer("GET /api/v1/"+path, func(*http.Request, object) (any, error) { return items(*all), nil })
	}
	for path, field := range map[string]string{"clusters": "server", "repositories": "repo", "account": "name", "repocreds": "url"} {
		all := lists[path]
		s.answer("GET /api/v1/"+path+"/{id}", func(r *http.Request, _ object) (any, error) {
			for _, o := range *all {
				if o[field] == r.PathValue("id") || o["name"] == r.PathValue("id") {
					return o, nil
				}
			}
			return nil, denied
		})
		s.answer("POST /api/v1/"+path, func(_ *http.Request, body object) (any, error) {
			*all = append(*all, body)
			return body, nil
		})
		s.answer("DELETE /api/v1/"+path+"/{id}", func(r *http.Request, _ object) (any, error) {
			*all = slices.DeleteFunc(*all, func(o object) bool { return o[field] == r.PathValue("id") || o["name"] == r.PathValue("id") })
			return object{}, nil
		})
	}
	s.keys()
	s.credentials()
	s.projects()
}

func (s *Server) keys() {
	s.answer("GET /api/v1/gpgkeys/{id}", func(r *http.Request, _ object) (any, error) {
		for _, k := range s.state.GPGKeys {
			if k["keyID"] == r.PathValue("id") {
				return k, nil
			}
		}
		return nil, missing("key")
	})
	s.answer("POST /api/v1/gpgkeys", func(*http.Request, object) (any, error) {
		return object{"created": items([]object{{"keyID": "NEW"}}), "skipped": []string{"OLD"}}, nil
	})
	s.answer("DELETE /api/v1/gpgkeys", func(r *http.Request, _ object) (any, error) {
		s.state.GPGKeys = slices.DeleteFunc(s.state.GPGKeys, func(k object) bool { return k["keyID"] == r.URL.Query().Get("keyID") })
		return object{}, nil
	})
}

func (s *Server) projects() {
	s.answer("GET /api/v1/projects/{name}", func(r *http.Request, _ object) (any, error) {
		if p := find(s.state.Projects, r.PathValue("name")); p != nil {
			return p, nil
		}
		return nil, denied
	})
	s.answer("GET /api/v1/projects/{name}/detailed", func(r *http.Request, _ object) (any, error) {
		if p := find(s.state.Projects, r.PathValue("name")); p != nil {
			return object{"project": p}, nil
		}
		return nil, denied
	})
	write := func(_ *http.Request, body object) (any, error) {
		p, _ := body["project"].(object)
		s.state.Projects = append(slices.DeleteFunc(s.state.Projects, func(o object) bool { return name(o) == name(p) }), p)
		return p, nil
	}
	s.answer("POST /api/v1/projects", write)
	s.answer("PUT /api/v1/projects/{name}", write)
	s.answer("DELETE /api/v1/projects/{name}", func(r *http.Request, _ object) (any, error) {
		s.state.Projects = slices.DeleteFunc(s.state.Projects, func(o object) bool { return name(o) == r.PathValue("name") })
		return object{}, nil
	})
}
