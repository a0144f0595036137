package main

import (
	"path/filepath"

	"github.com/tidwall/wal"
)

// tidwallStore gives each worker a log of its own only where the cell has partitions; else all share one, under the
// lock that its index needs.
type tidwallStore struct {
	log  *wal.Log
	next uint64
	turn chan struct{}
}

func tidwallOptions(s shape) *wal.Options {
	o := *wal.DefaultOptions
	o.NoSync = !s.sync
	return &o
}

func openTidwall(dir string, s shape) (store, error) {
	l, err := wal.Open(filepath.Join(dir, "wal"), tidwallOptions(s))
	if err != nil {
		return nil, err
	}
	return &tidwallStore{log: l, next: 1, turn: make(chan struct{}, 1)}, nil
}

func (t *tidwallStore) append(_ int, records [][]byte) error {
	t.turn <- struct{}{}
	defer func() { <-t.turn }()
	if len(records) == 1 {
		err := t.log.Write(t.next, records[0])
		t.next++
		return err
	}
	var b wal.Batch
	for _, r := range records {
		b.Write(t.next, r)
		t.next++
	}
	return t.log.WriteBatch(&b)
}

func (t *tidwallStore) close() error { return t.log.Close() }

func scanTidwall(dir string, s shape, visit func([]byte) error) error {
	l, err := wal.Open(filepath.Join(dir, "wal"), tidwallOptions(s))
	if err != nil {
		return err
	}
	defer l.Close()
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	for i := uint64(1); i <= last; i++ {
		p, err := l.Read(i)
		if err != nil {
			return err
		}
		if err := visit(p); err != nil {
			return err
		}
	}
	return nil
}
