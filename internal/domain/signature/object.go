package signature

import (
	"bytes"
	"strings"
)

// Signed is an object of Git taken apart: what was signed, and the signature.
type Signed struct {
	Payload   []byte
	Signature string // armored; empty when there is none
}

// Commit takes the signature out of a commit object. A commit may have one for
// each format of objects: that of its own format counts.
func Commit(raw []byte) Signed {
	var payload bytes.Buffer
	var sha1, sha256 strings.Builder
	var into *strings.Builder // while lines of a signature follow
	rest := raw
	for len(rest) > 0 {
		end := bytes.IndexByte(rest, '\n') + 1
		if end == 0 {
			end = len(rest)
		}
		line := rest[:end]
		if len(line) == 1 || line[0] == '\n' { // the message follows
			payload.Write(rest)
			break
		}
		rest = rest[end:]
		switch {
		case bytes.HasPrefix(line, []byte("gpgsig ")):
			into = &sha1
			into.Write(line[len("gpgsig "):])
		case bytes.HasPrefix(line, []byte("gpgsig-sha256 ")):
			into = &sha256
			into.Write(line[len("gpgsig-sha256 "):])
		case into != nil && line[0] == ' ':
			into.Write(line[1:])
		default:
			into = nil
			payload.Write(line)
		}
	}
	if first, _, _ := bytes.Cut(raw, []byte("\n")); len(first) == len("tree ")+64 {
		return Signed{payload.Bytes(), sha256.String()}
	}
	return Signed{payload.Bytes(), sha1.String()}
}

var tagMarks = [][]byte{[]byte("-----BEGIN PGP SIGNATURE-----"), []byte("-----BEGIN PGP MESSAGE-----"), []byte("-----BEGIN SSH SIGNATURE-----"), []byte("-----BEGIN SIGNED MESSAGE-----")}

// Tag takes the signature from the end of a tag object.
func Tag(raw []byte) Signed {
	at := -1
	for offset := 0; offset < len(raw); {
		for _, mark := range tagMarks {
			if bytes.HasPrefix(raw[offset:], mark) {
				at = offset
			}
		}
		end := bytes.IndexByte(raw[offset:], '\n')
		if end < 0 {
			break
		}
		offset += end + 1
	}
	if at < 0 {
		return Signed{Payload: raw}
	}
	return Signed{raw[:at], string(raw[at:])}
}

// TagTarget is the object that a tag object names, "" when it is no tag of a
// commit.
func TagTarget(raw []byte) string {
	head, _, _ := bytes.Cut(raw, []byte("\n\n"))
	id, isCommit := "", false
	for line := range bytes.Lines(head) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), " ")
		switch key {
		case "object":
			id = value
		case "type":
			isCommit = value == "commit"
		}
	}
	if !isCommit {
		return ""
	}
	return id
}

// Parents are the commits that a commit object follows.
func Parents(raw []byte) (ids []string) {
	head, _, _ := bytes.Cut(raw, []byte("\n\n"))
	for line := range bytes.Lines(head) {
		if id, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "parent "); ok {
			ids = append(ids, id)
		}
	}
	return ids
}

// sealTrailer marks a signed commit whose author vouches for all before it.
const sealTrailer = "argocd-gpg-seal:"

// Seals says that the message of a commit ends with the trailer that vouches
// for the history before it, with a reason.
func Seals(raw []byte) bool {
	_, message, _ := bytes.Cut(raw, []byte("\n\n"))
	paragraphs := strings.Split(strings.TrimSpace(string(message)), "\n\n")
	if len(paragraphs) < 2 {
		return false // a subject is no trailer
	}
	for line := range strings.Lines(paragraphs[len(paragraphs)-1]) {
		line = strings.TrimSpace(line)
		if len(line) > len(sealTrailer) && strings.EqualFold(line[:len(sealTrailer)], sealTrailer) && strings.TrimSpace(line[len(sealTrailer):]) != "" {
			return true
		}
	}
	return false
}
