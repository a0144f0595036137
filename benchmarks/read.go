package main

import (
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/internal/batch"
)

const (
	readSize    = 1024
	readRecords = 256 << 10 // 256 MiB of payload
)

var readShape = shape{batch: 100, size: readSize, workers: 1}

// readCell reads 256 MiB of 1 KiB records in order, after a close and an open, page cache warm. Borrowed: every cache line
// of every record is touched where it lies. Copied: into fresh 1 MiB buffers, CRC checked.
func readCell(name string, borrowed bool) cell {
	c := cell{name: name}
	add := func(system string, open opener, read func(dir string) (sample, error)) {
		c.contenders = append(c.contenders, contender{system, pageCache, func(e environment) (sample, error) {
			if err := fillStore(e.dir, open); err != nil {
				return sample{}, err
			}
			return read(e.dir)
		}})
	}
	if borrowed {
		add("partlog", openPartlog, readPartlogBorrowed)
		add("bbolt", openBbolt, readBbolt)
		return c
	}
	add("partlog", openPartlog, readPartlogCopied)
	add("raw", openRaw, readRaw)
	add("tidwall", openTidwall, readTidwall)
	add("pebble", openPebble, readPebble)
	return c
}

func fillStore(dir string, open opener) error {
	st, err := open(dir, readShape)
	if err != nil {
		return err
	}
	records := make([][]byte, readShape.batch)
	for i := range records {
		records[i] = newPayload(readSize)
	}
	for done := 0; done < readRecords; done += len(records) {
		for i, r := range records {
			fill(r, 0, uint64(done+i))
		}
		if err := st.append(0, records); err != nil {
			return errors.Join(err, st.close())
		}
	}
	return st.close()
}

// touch reads one byte of every cache line.
func touch(p []byte) (sum byte) {
	for i := 0; i < len(p); i += 64 {
		sum += p[i]
	}
	return sum
}

// sink keeps the compiler from dropping what the cells read.
var sink byte

// touched times passes over the data until a second has gone by, the first pass (with its checks) included.
func touched(pass func(visit func([]byte)) error) (sample, error) {
	var s sample
	visit := func(p []byte) {
		sink += touch(p)
		s.records++
		s.bytes += int64(len(p))
	}
	before, started := mallocs(), time.Now()
	for time.Since(started) < time.Second {
		if err := pass(visit); err != nil {
			return sample{}, err
		}
	}
	s.elapsed, s.mallocs = time.Since(started), mallocs()-before
	return s, nil
}

func readPartlogBorrowed(dir string) (sample, error) {
	st, err := newPartlogAgain(dir)
	if err != nil {
		return sample{}, err
	}
	s, err := touched(func(visit func([]byte)) error {
		return fetchAll(st, 0, func(r *batch.Record) error {
			visit(r.Value)
			return nil
		})
	})
	return s, errors.Join(err, st.Close())
}

func readBbolt(dir string) (sample, error) {
	db, err := bbolt.Open(filepath.Join(dir, "db"), 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		return sample{}, err
	}
	s, err := touched(func(visit func([]byte)) error {
		return db.View(func(tx *bbolt.Tx) error {
			return tx.Bucket(bucket0).ForEach(func(_, v []byte) error {
				visit(v)
				return nil
			})
		})
	})
	return s, errors.Join(err, db.Close())
}

// readPartlogCopied copies whole batches out of the mapping into fresh buffers of 1 MiB, as a consumer of copied
// records does, after checking them.
func readPartlogCopied(dir string) (sample, error) {
	st, err := newPartlogAgain(dir)
	if err != nil {
		return sample{}, err
	}
	s, err := copied(func(visit func([]byte) error) error { return fetchCopies(st, visit) })
	return s, errors.Join(err, st.Close())
}

// copied times the first pass after the open: each buffer counts as its payload's share of records.
func copied(pass func(visit func([]byte) error) error) (sample, error) {
	var s sample
	before, started := mallocs(), time.Now()
	for time.Since(started) < time.Second {
		err := pass(func(p []byte) error {
			s.bytes += int64(len(p))
			return nil
		})
		if err != nil {
			return sample{}, err
		}
	}
	s.elapsed, s.mallocs = time.Since(started), mallocs()-before
	s.records = s.bytes / readSize
	return s, nil
}

func readRaw(dir string) (sample, error) {
	f, err := os.Open(filepath.Join(dir, "0"))
	if err != nil {
		return sample{}, err
	}
	defer f.Close()
	fd := int(f.Fd())
	table := crc32.MakeTable(crc32.Castagnoli)
	return copied(func(visit func([]byte) error) error {
		for position := int64(0); ; {
			buffer := make([]byte, 1<<20)
			n, err := unix.Pread(fd, buffer, position)
			if err != nil || n == 0 {
				return err
			}
			sink += byte(crc32.Checksum(buffer[:n], table))
			if err := visit(buffer[:n]); err != nil {
				return err
			}
			position += int64(n)
		}
	})
}

func readTidwall(dir string) (sample, error) {
	return copied(func(visit func([]byte) error) error { return scanTidwall(dir, readShape, visit) })
}

func readPebble(dir string) (sample, error) {
	return copied(func(visit func([]byte) error) error {
		return scanPebble(dir, readShape, func(p []byte) error { return visit(append([]byte(nil), p...)) })
	})
}
