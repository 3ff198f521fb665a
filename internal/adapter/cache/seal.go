package cache

import (
	"bytes"
	"compress/flate"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
)

// KeyBytes is the length of a key.
const KeyBytes = 32

// maxValue bounds one entry after unpacking.
const maxValue = 256 << 20

// errForged says that an entry is not one that was put under its name.
var errForged = errors.New("the entry is damaged or forged")

// sealer packs and unpacks entries.
type sealer struct {
	aead   cipher.AEAD
	random io.Reader
	// packers are compressors at rest: a new one takes most of a megabyte.
	packers sync.Pool
}

func newSealer(key []byte, random io.Reader) (*sealer, error) {
	if len(key) < KeyBytes {
		return nil, fmt.Errorf("the key of the cache has %d bytes: give at least %d", len(key), KeyBytes)
	}
	derived, err := hkdf.Key(sha256.New, key, nil, "sluice manifest cache v1", KeyBytes)
	if err != nil {
		return nil, fmt.Errorf("key of the cache: %w", err)
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		return nil, fmt.Errorf("key of the cache: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return nil, fmt.Errorf("key of the cache: %w", err)
	}
	return &sealer{aead: aead, random: random}, nil
}

// seal gives nonce and sealed content of a value for a name.
func (s *sealer) seal(name string, value []byte) ([]byte, error) {
	var packed bytes.Buffer
	if err := s.pack(&packed, value); err != nil {
		return nil, err
	}
	nonce := make([]byte, s.aead.NonceSize(), s.aead.NonceSize()+packed.Len()+s.aead.Overhead())
	if _, err := io.ReadFull(s.random, nonce); err != nil {
		return nil, err
	}
	return s.aead.Seal(nonce, nonce, packed.Bytes(), []byte(name)), nil
}

func (s *sealer) pack(into io.Writer, value []byte) error {
	w, rested := s.packers.Get().(*flate.Writer)
	if rested {
		w.Reset(into)
	} else {
		var err error
		if w, err = flate.NewWriter(into, flate.BestSpeed); err != nil {
			return err
		}
	}
	defer s.packers.Put(w)
	if _, err := w.Write(value); err != nil {
		return err
	}
	return w.Close()
}

// open reverses seal; anything else than what it made for name is errForged.
func (s *sealer) open(name string, entry []byte) ([]byte, error) {
	n := s.aead.NonceSize()
	if len(entry) < n {
		return nil, errForged
	}
	packed, err := s.aead.Open(nil, entry[:n], entry[n:], []byte(name))
	if err != nil {
		return nil, errForged
	}
	value, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(packed)), maxValue+1))
	if err != nil || len(value) > maxValue {
		return nil, errForged
	}
	return value, nil
}

// LoadKey reads the key in a file, and makes one first when there is none.
func LoadKey(file string, random io.Reader) ([]byte, error) {
	key, err := os.ReadFile(file)
	if err == nil && len(key) >= KeyBytes {
		return key, nil
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("key of the cache: %w", err)
	}
	key = make([]byte, KeyBytes)
	if _, err := io.ReadFull(random, key); err != nil {
		return nil, fmt.Errorf("key of the cache: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return nil, fmt.Errorf("key of the cache: %w", err)
	}
	if err := os.WriteFile(file, key, 0o600); err != nil {
		return nil, fmt.Errorf("key of the cache: %w", err)
	}
	return key, nil
}
