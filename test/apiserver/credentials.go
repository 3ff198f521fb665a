package apiserver

import (
	"fmt"
	"net/http"
	"path"
	"slices"
)

// credentials are accounts, tokens, and what proves who a host is.
func (s *Server) credentials() {
	s.answer("GET /api/v1/account/can-i/{resource}/{action}/{object...}", func(r *http.Request, _ object) (any, error) {
		if r.PathValue("resource") == "applications" && r.PathValue("action") == "get" && r.PathValue("object") == "default/web" {
			return object{"value": "yes"}, nil
		}
		return object{"value": "no"}, nil
	})
	s.answer("PUT /api/v1/account/password", func(_ *http.Request, body object) (any, error) {
		if body["currentPassword"] != s.state.Password {
			return nil, failure{400, 3, "current password does not match"}
		}
		s.state.Password, _ = body["newPassword"].(string)
		return object{}, nil
	})
	token := func(*http.Request, object) (any, error) { return object{"token": s.state.NewToken}, nil }
	s.answer("POST /api/v1/account/{name}/token", token)
	s.answer("POST /api/v1/projects/{project}/roles/{role}/token", token)
	gone := func(*http.Request, object) (any, error) { return object{}, nil }
	s.answer("DELETE /api/v1/account/{name}/token/{id}", gone)
	s.answer("DELETE /api/v1/projects/{project}/roles/{role}/token/{iat}", gone)
	s.answer("POST /api/v1/clusters/{id}/rotate-auth", gone)
	s.answer("PUT /api/v1/clusters/{id}", func(_ *http.Request, body object) (any, error) { return body, nil })
	s.answer("POST /api/v1/certificates", func(_ *http.Request, body object) (any, error) {
		all, _ := body["items"].([]any)
		var made []object
		for i, one := range all {
			c, _ := one.(object)
			made = append(made, object{"serverName": c["serverName"], "certType": c["certType"], "certSubType": c["certSubType"], "certInfo": fmt.Sprint("fingerprint ", i)})
		}
		s.state.Certificates = append(s.state.Certificates, made...)
		return items(made), nil
	})
	s.answer("DELETE /api/v1/certificates", func(r *http.Request, _ object) (any, error) {
		q := r.URL.Query()
		var removed []object
		s.state.Certificates = slices.DeleteFunc(s.state.Certificates, func(c object) bool {
			host, _ := c["serverName"].(string)
			fits, err := path.Match(q.Get("hostNamePattern"), host)
			if fits = err == nil && fits && (q.Get("certType") == "" || q.Get("certType") == c["certType"]); fits {
				removed = append(removed, c)
			}
			return fits
		})
		return items(removed), nil
	})
}
