package main

import (
	"encoding/binary"
	"path/filepath"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// pebbleStore keeps records under 8-byte big-endian keys. Unsynced it acknowledges before write(2): its durability
// is then below the page cache, and it takes no part in ratios.
type pebbleStore struct {
	db    *pebble.DB
	write *pebble.WriteOptions
	next  atomic.Uint64
}

type quiet struct{}

func (quiet) Infof(string, ...any)  {}
func (quiet) Errorf(string, ...any) {}
func (quiet) Fatalf(f string, a ...any) {
	panic(f)
}

func pebbleOptions() *pebble.Options {
	return &pebble.Options{Logger: quiet{}, MemTableSize: 64 << 20, MemTableStopWritesThreshold: 4}
}

func openPebble(dir string, s shape) (store, error) {
	db, err := pebble.Open(filepath.Join(dir, "db"), pebbleOptions())
	if err != nil {
		return nil, err
	}
	p := &pebbleStore{db: db, write: pebble.NoSync}
	if s.sync {
		p.write = pebble.Sync
	}
	return p, nil
}

func (p *pebbleStore) append(_ int, records [][]byte) error {
	last := p.next.Add(uint64(len(records)))
	var key [8]byte
	if len(records) == 1 {
		binary.BigEndian.PutUint64(key[:], last)
		return p.db.Set(key[:], records[0], p.write)
	}
	b := p.db.NewBatch()
	defer b.Close()
	for i, r := range records {
		binary.BigEndian.PutUint64(key[:], last-uint64(len(records)-1-i))
		if err := b.Set(key[:], r, nil); err != nil {
			return err
		}
	}
	return b.Commit(p.write)
}

func (p *pebbleStore) close() error { return p.db.Close() }

func scanPebble(dir string, _ shape, visit func([]byte) error) error {
	db, err := pebble.Open(filepath.Join(dir, "db"), pebbleOptions())
	if err != nil {
		return err
	}
	defer db.Close()
	it, err := db.NewIter(nil)
	if err != nil {
		return err
	}
	defer it.Close()
	for it.First(); it.Valid(); it.Next() {
		if err := visit(it.Value()); err != nil {
			return err
		}
	}
	return it.Error()
}
