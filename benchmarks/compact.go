package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"github.com/partlog/partlog/internal/batch"
	"github.com/partlog/partlog/partition"
)

const (
	compactRecords = 10_000_000
	compactValue   = 84 // bytes, with the key of 8 about 100 a record: 1 GB in all
	compactBatch   = 100
)

// compactCell compacts a partition of 10 million records, whose keys are drawn at random from so many. Raw reads and writes the same
// bytes: all of it twice, because what is a key's last record is known at the end only, and as much as stays, with one sync; once_s is
// raw with a single read. Records are those compacted; what stays is read back and must be the last of each key.
func compactCell(name string, keys int) cell {
	return cell{name: name, contenders: []contender{
		{"partlog", onDisk, func(e environment) (sample, error) { return compactPartlog(e, keys) }},
		{"raw", onDisk, func(e environment) (sample, error) { return compactRaw(e, keys) }},
	}}
}

// compactKeys calls f with the key of each record in turn.
func compactKeys(keys int, f func(sequence uint32, key uint64) error) error {
	rng := rand.New(rand.NewPCG(1, uint64(keys)))
	for i := range uint32(compactRecords) {
		if err := f(i, rng.Uint64N(uint64(keys))); err != nil {
			return err
		}
	}
	return nil
}

func fillCompact(s *partition.Store, keys int) (last []uint32, err error) {
	topic, err := s.CreateTopic(context.Background(), partlogTopic, partition.TopicConfig{CleanupPolicy: partition.CleanupCompact})
	if err != nil {
		return nil, err
	}
	p, err := topic.Partition(0)
	if err != nil {
		return nil, err
	}
	last = make([]uint32, keys)
	var b batch.Builder
	buffer := make([]byte, 0, 128+compactBatch*(compactValue+32))
	var key [8]byte
	value := newPayload(compactValue)
	now := time.Now().UnixMilli()
	return last, compactKeys(keys, func(i uint32, k uint64) error {
		if i%compactBatch == 0 {
			b.Reset(buffer, batch.Options{})
		}
		binary.BigEndian.PutUint64(key[:], k)
		binary.BigEndian.PutUint32(value, i)
		last[k] = i + 1
		b.Append(now, key[:], value, nil)
		if b.Count() < compactBatch {
			return nil
		}
		out, err := b.Finish()
		if err == nil {
			_, err = p.Append(context.Background(), out, partition.AcksLeader)
		}
		return err
	})
}

func compactPartlog(e environment, keys int) (got sample, err error) {
	config := partition.Config{Sync: partition.SyncNever, CleanerBackoff: partition.Unlimited}
	s, err := partition.Open(filepath.Join(e.dir, "store"), config)
	if err != nil {
		return sample{}, err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	last, err := fillCompact(s, keys)
	if err != nil {
		return sample{}, err
	}
	unix.Sync()
	time.Sleep(3 * time.Second) // the store seals what it has rolled
	before := s.Stats().Total
	runtime.GC()
	var memory runtime.MemStats
	runtime.ReadMemStats(&memory)
	heap := memory.Sys
	tp := partition.TopicPartition{Topic: partlogTopic}
	got, err = timed(func() error { return s.Compact(context.Background(), tp) })
	if err != nil {
		return sample{}, err
	}
	runtime.ReadMemStats(&memory)
	st := s.Stats().Total
	got.records, got.bytes = compactRecords, before.Bytes
	got.hist = nil
	got.extra = map[string]float64{
		"seconds": got.elapsed.Seconds(), "passes": float64(st.Compactions), "kept_MB": float64(st.Bytes) / 1e6,
		"memory_MB": float64(int64(memory.Sys)-int64(heap)) / 1e6, "map_use": st.CompactionMapUse,
	}
	return got, checkCompacted(s, last)
}

// checkCompacted reads what is left.
func checkCompacted(s *partition.Store, last []uint32) error {
	var left int
	err := fetchAll(s, 0, func(r *batch.Record) error {
		k, i := binary.BigEndian.Uint64(r.Key), binary.BigEndian.Uint32(r.Value)
		if last[k] != i+1 || int64(i) != r.Offset {
			return fmt.Errorf("record %d of key %d is at offset %d, and should be record %d", i, k, r.Offset, int64(last[k])-1)
		}
		left++
		return nil
	})
	distinct := 0
	for _, i := range last {
		if i > 0 {
			distinct++
		}
	}
	if err == nil && left != distinct {
		err = fmt.Errorf("%d records of %d keys are left", left, distinct)
	}
	return err
}

func compactRaw(e environment, keys int) (sample, error) {
	const size = compactRecords * (compactValue + 8 + 9)
	seen := make([]bool, keys)
	distinct := 0
	if err := compactKeys(keys, func(_ uint32, k uint64) error {
		if !seen[k] {
			seen[k] = true
			distinct++
		}
		return nil
	}); err != nil {
		return sample{}, err
	}
	source, err := os.Create(filepath.Join(e.dir, "source"))
	if err != nil {
		return sample{}, err
	}
	defer source.Close()
	buffer := newPayload(1 << 20)
	for at := int64(0); at < size; at += int64(len(buffer)) {
		if _, err := unix.Pwrite(int(source.Fd()), buffer, at); err != nil {
			return sample{}, err
		}
	}
	unix.Sync()
	kept := int64(distinct) * (compactValue + 8 + 9)
	copyKept := func(name string) error {
		target, err := os.Create(filepath.Join(e.dir, name))
		if err != nil {
			return err
		}
		defer target.Close()
		written := int64(0)
		for at := int64(0); at < size; at += int64(len(buffer)) {
			if _, err := unix.Pread(int(source.Fd()), buffer, at); err != nil {
				return err
			}
			for due := at * kept / size; written < due; written += int64(len(buffer)) {
				if _, err := unix.Pwrite(int(target.Fd()), buffer, written); err != nil {
					return err
				}
			}
		}
		return unix.Fdatasync(int(target.Fd()))
	}
	once, err := timed(func() error { return copyKept("once") })
	if err != nil {
		return sample{}, err
	}
	got, err := timed(func() error {
		for at := int64(0); at < size; at += int64(len(buffer)) {
			if _, err := unix.Pread(int(source.Fd()), buffer, at); err != nil {
				return err
			}
		}
		return copyKept("target")
	})
	if err != nil {
		return sample{}, err
	}
	got.records, got.bytes, got.hist = compactRecords, size, nil
	got.extra["once_s"] = once.elapsed.Seconds()
	return got, nil
}
