// Package cache keeps bytes outside the process: on local disk, in Redis, or
// in both, one behind the other. Whatever it holds may vanish at any time.
//
//	value ──compress──► seal(key, name) ──► disk file or Redis key
//
// Nothing that comes back is believed: every entry is encrypted and
// authenticated with a key that only Sluice has, together with its own name,
// so that an entry that was damaged, forged or put under another name counts
// as absent, is removed and is reported.
package cache
