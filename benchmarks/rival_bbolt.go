package main

import (
	"encoding/binary"
	"path/filepath"

	"go.etcd.io/bbolt"
)

type bboltStore struct {
	db      *bbolt.DB
	workers int
}

var bucket0 = []byte("records")

func openBbolt(dir string, s shape) (store, error) {
	db, err := bbolt.Open(filepath.Join(dir, "db"), 0o600, &bbolt.Options{NoSync: !s.sync, NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
	if err != nil {
		return nil, err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(bucket0)
		return err
	})
	return &bboltStore{db: db, workers: s.workers}, err
}

func (b *bboltStore) append(_ int, records [][]byte) error {
	put := func(tx *bbolt.Tx) error {
		k := tx.Bucket(bucket0)
		k.FillPercent = 1
		for _, r := range records {
			n, err := k.NextSequence()
			if err != nil {
				return err
			}
			var key [8]byte
			binary.BigEndian.PutUint64(key[:], n)
			if err := k.Put(key[:], r); err != nil {
				return err
			}
		}
		return nil
	}
	if b.workers > 1 {
		return b.db.Batch(put)
	}
	return b.db.Update(put)
}

func (b *bboltStore) close() error { return b.db.Close() }

func scanBbolt(dir string, _ shape, visit func([]byte) error) error {
	db, err := bbolt.Open(filepath.Join(dir, "db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket(bucket0).ForEach(func(_, v []byte) error { return visit(v) })
	})
}
