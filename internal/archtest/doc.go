// Package archtest holds the architecture rules as tests.
package archtest
