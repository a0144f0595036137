package main

import (
	"errors"
	"os"
	"path/filepath"

	"github.com/hashicorp/raft"
	raftwal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/metadb"
)

type raftWALStore struct {
	log  *raftwal.WAL
	meta *metadb.BoltMetaDB // WAL.Close leaves its own open, and locked
	next uint64
	turn chan struct{}
}

func openRaftWAL(dir string, _ shape) (store, error) {
	dir = filepath.Join(dir, "wal")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	meta := new(metadb.BoltMetaDB)
	l, err := raftwal.Open(dir, raftwal.WithMetaStore(meta))
	if err != nil {
		return nil, err
	}
	return &raftWALStore{log: l, meta: meta, next: 1, turn: make(chan struct{}, 1)}, nil
}

func (r *raftWALStore) append(_ int, records [][]byte) error {
	r.turn <- struct{}{}
	defer func() { <-r.turn }()
	logs := make([]*raft.Log, len(records))
	entries := make([]raft.Log, len(records))
	for i, p := range records {
		entries[i] = raft.Log{Index: r.next, Data: p}
		logs[i] = &entries[i]
		r.next++
	}
	return r.log.StoreLogs(logs)
}

func (r *raftWALStore) close() error { return errors.Join(r.log.Close(), r.meta.Close()) }

func scanRaftWAL(dir string, s shape, visit func([]byte) error) error {
	st, err := openRaftWAL(dir, s)
	if err != nil {
		return err
	}
	defer st.close()
	l := st.(*raftWALStore).log
	last, err := l.LastIndex()
	if err != nil {
		return err
	}
	var entry raft.Log
	for i := uint64(1); i <= last; i++ {
		if err := l.GetLog(i, &entry); err != nil {
			return err
		}
		if err := visit(entry.Data); err != nil {
			return err
		}
	}
	return nil
}
