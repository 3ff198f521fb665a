// Package fault gives the errors of the server their codes: a handler says what
// went wrong in terms of gRPC, and each transport has its own form of it
// (spec/api.md §1, errors). An error that has no code is a fault of ours: its
// text stays in the log, because it may hold what the caller must not see.
package fault

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Code is a status of gRPC.
type Code int

// The codes that the server gives.
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
	0: "OK", Canceled: "Canceled", Unknown: "Unknown", InvalidArgument: "InvalidArgument", DeadlineExceeded: "DeadlineExceeded",
	NotFound: "NotFound", AlreadyExists: "AlreadyExists", PermissionDenied: "PermissionDenied", ResourceExhausted: "ResourceExhausted",
	FailedPrecondition: "FailedPrecondition", Aborted: "Aborted", Unimplemented: "Unimplemented", Internal: "Internal",
	Unavailable: "Unavailable", Unauthenticated: "Unauthenticated",
}

// String is the name that gRPC gives the code.
func (c Code) String() string {
	if name, ok := names[c]; ok {
		return name
	}
	return fmt.Sprintf("Code(%d)", int(c))
}

var statuses = map[Code]int{
	0: http.StatusOK, Canceled: http.StatusRequestTimeout, Unknown: http.StatusInternalServerError, InvalidArgument: http.StatusBadRequest,
	DeadlineExceeded: http.StatusGatewayTimeout, NotFound: http.StatusNotFound, AlreadyExists: http.StatusConflict,
	PermissionDenied: http.StatusForbidden, ResourceExhausted: http.StatusTooManyRequests, FailedPrecondition: http.StatusBadRequest,
	Aborted: http.StatusConflict, Unimplemented: http.StatusNotImplemented, Internal: http.StatusInternalServerError,
	Unavailable: http.StatusServiceUnavailable, Unauthenticated: http.StatusUnauthorized,
}

// HTTP is the status that goes with the code (spec/api.md §1).
func (c Code) HTTP() int {
	if status, ok := statuses[c]; ok {
		return status
	}
	return http.StatusInternalServerError
}

// Error is an error that a caller may read.
type Error struct {
	Code Code
	// Message names object, field and remedy, and holds no secret.
	Message string
	// cause stays in the log.
	cause error
}

// Error is the message.
func (e *Error) Error() string { return e.Message }

// Unwrap is the cause, for errors.Is and the log.
func (e *Error) Unwrap() error { return e.cause }

// New makes an error with a code; the format may wrap a cause with %w, whose
// text then is part of what the caller reads.
func New(code Code, format string, args ...any) error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), cause: errors.Unwrap(err)}
}

// Hide makes an error with a code and a message, and keeps the cause for the log.
func Hide(cause error, code Code, message string) error {
	return &Error{Code: code, Message: message, cause: cause}
}

// opaque is what callers read of an error without a code.
const opaque = "internal error: see the log of the server"

// Of gives the code of any error and what a caller may read of it. Errors of
// Kubernetes are mapped by reason; an error without a code has an opaque text.
func Of(err error) (Code, string) {
	var coded *Error
	var status apierrors.APIStatus
	switch {
	case err == nil:
		return 0, ""
	case errors.As(err, &coded):
		return coded.Code, coded.Message
	case errors.As(err, &status):
		return kubernetes(status.Status())
	case errors.Is(err, context.Canceled):
		return Canceled, "the caller left"
	case errors.Is(err, context.DeadlineExceeded):
		return DeadlineExceeded, "the request took too long"
	}
	return Unknown, opaque
}

// Away says that an error means that somebody who was asked is away: it is
// passed on as it is, whatever the question was.
func Away(err error) bool {
	code, _ := Of(err)
	return code == Unavailable
}

var reasons = map[metav1.StatusReason]Code{
	metav1.StatusReasonNotFound: NotFound, metav1.StatusReasonAlreadyExists: AlreadyExists, metav1.StatusReasonInvalid: InvalidArgument,
	metav1.StatusReasonMethodNotAllowed: Unimplemented, metav1.StatusReasonServiceUnavailable: Unavailable,
	metav1.StatusReasonBadRequest: FailedPrecondition, metav1.StatusReasonUnauthorized: Unauthenticated, metav1.StatusReasonForbidden: PermissionDenied,
	metav1.StatusReasonTimeout: DeadlineExceeded, metav1.StatusReasonServerTimeout: Unavailable, metav1.StatusReasonConflict: Aborted,
	metav1.StatusReasonTooManyRequests: ResourceExhausted, metav1.StatusReasonInternalError: Internal,
	metav1.StatusReasonRequestEntityTooLarge: InvalidArgument,
}

func kubernetes(s metav1.Status) (Code, string) {
	code, ok := reasons[s.Reason]
	switch {
	case !ok:
		return Unknown, opaque
	case code == Unauthenticated:
		// The hub or a target refuses us, not the caller: he must not think
		// that his token is bad, nor log in again.
		return Unavailable, "the cluster refuses the credentials of the server"
	case code == Internal:
		return Internal, opaque
	}
	return code, strings.TrimSpace(s.Message)
}
