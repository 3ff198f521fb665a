package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// Code is a status of gRPC.
type Code int

// The codes that callers tell apart.
const (
	Canceled           Code = 1
	Unknown            Code = 2
	InvalidArgument    Code = 3
	DeadlineExceeded   Code = 4
	NotFound           Code = 5
	AlreadyExists      Code = 6
	PermissionDenied   Code = 7
	ResourceExhausted  Code = 8
	FailedPrecondition Code = 9
	Aborted            Code = 10
	Unimplemented      Code = 12
	Internal           Code = 13
	Unavailable        Code = 14
	Unauthenticated    Code = 16
)

var names = map[Code]string{
	Canceled: "Canceled", Unknown: "Unknown", InvalidArgument: "InvalidArgument", DeadlineExceeded: "DeadlineExceeded",
	NotFound: "NotFound", AlreadyExists: "AlreadyExists", PermissionDenied: "PermissionDenied",
	ResourceExhausted: "ResourceExhausted", FailedPrecondition: "FailedPrecondition", Aborted: "Aborted",
	Unimplemented: "Unimplemented", Internal: "Internal", Unavailable: "Unavailable", Unauthenticated: "Unauthenticated",
}

// String is the name that gRPC gives the code.
func (c Code) String() string {
	if name, ok := names[c]; ok {
		return name
	}
	return fmt.Sprintf("Code(%d)", int(c))
}

// Error is an error that the server answered with.
type Error struct {
	Code    Code
	Message string
	// Status is that of HTTP; 0 for an error in the middle of a stream.
	Status int
}

// Error has the form that scripts know (spec/cli.md, conventions).
func (e *Error) Error() string {
	return fmt.Sprintf("rpc error: code = %s desc = %s", e.Code, e.Message)
}

// CodeOf is the code of an error of the server; 0 for any other error.
func CodeOf(err error) Code {
	var e *Error
	if errors.As(err, &e) {
		return e.Code
	}
	return 0
}

var byStatus = map[int]Code{
	http.StatusBadRequest: InvalidArgument, http.StatusUnauthorized: Unauthenticated, http.StatusForbidden: PermissionDenied,
	http.StatusNotFound: NotFound, http.StatusConflict: Aborted, http.StatusTooManyRequests: ResourceExhausted,
	http.StatusMethodNotAllowed: Unimplemented, http.StatusNotImplemented: Unimplemented, http.StatusServiceUnavailable: Unavailable,
	http.StatusBadGateway: Unavailable, http.StatusGatewayTimeout: DeadlineExceeded, http.StatusRequestTimeout: Canceled,
	http.StatusUnsupportedMediaType: InvalidArgument,
}

// refusal reads the error that an answer is: that of the server, or of whatever
// stands before it.
func refusal(status int, body []byte) error {
	var e struct {
		Code    Code   `json:"code"`
		Message string `json:"message"`
		Error   string `json:"error"`
	}
	if json.Unmarshal(body, &e) == nil && (e.Message != "" || e.Error != "") {
		if e.Message == "" {
			e.Message = e.Error
		}
		if e.Code == 0 {
			e.Code = codeOf(status)
		}
		return &Error{Code: e.Code, Message: e.Message, Status: status}
	}
	text := strings.TrimSpace(string(body[:min(len(body), 256)]))
	if text == "" || strings.HasPrefix(text, "<") {
		text = http.StatusText(status)
	}
	return &Error{Code: codeOf(status), Message: fmt.Sprintf("the server answers %d: %s", status, text), Status: status}
}

func codeOf(status int) Code {
	if c, ok := byStatus[status]; ok {
		return c
	}
	return Unknown
}
