package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/partlog/partlog/internal/segment"
	"github.com/partlog/partlog/log"
)

// VerifyReport says what Verify found.
type VerifyReport struct {
	Dir        string             `json:"dir"`
	ClusterID  string             `json:"cluster_id"`
	Clean      bool               `json:"clean"` // the store had been closed cleanly
	Topics     int                `json:"topics"`
	Partitions []log.VerifyReport `json:"partitions"`
	// Unreadable holds the partitions that could not be looked at, with the reason.
	Unreadable map[string]string `json:"unreadable,omitempty"`
	// Foreign are names in the data directory that belong to no topic. They are no damage.
	Foreign []string `json:"foreign,omitempty"`
}

// Damaged reports whether any record, or any file that is not a cache, is damaged or missing.
func (r *VerifyReport) Damaged() bool {
	for _, p := range r.Partitions {
		if p.Damaged {
			return true
		}
	}
	return len(r.Unreadable) > 0
}

// Verify reads every byte of every partition and checks it. Nothing is changed, and appends and reads go on meanwhile.
// On a store opened by OpenReadOnly it works on the files alone; if another process writes to them, an unfinished end is
// no damage. The error is ctx.Err() or ErrClosed; damage is in the report.
func (s *Store) Verify(ctx context.Context) (*VerifyReport, error) {
	if s.closed.Load() {
		return nil, ErrClosed
	}
	r := &VerifyReport{Dir: s.Dir(), ClusterID: s.ClusterID(), Topics: len(s.index.Load().byName), Unreadable: map[string]string{}}
	s.mu.Lock()
	r.Clean = s.readOnly && s.cat.clean || !s.readOnly && s.recovery == nil
	s.mu.Unlock()
	known := map[string]bool{}
	index := s.index.Load()
	for _, name := range sortedKeys(index.byName) {
		for _, p := range *index.byName[name].parts.Load() {
			known[segment.PartitionDirName(name, p.tp.Partition)] = true
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			v, err := p.verify(ctx)
			switch {
			case err != nil && ctx.Err() != nil:
				return nil, ctx.Err()
			case errors.Is(err, ErrNotLeaderOrFollower): // on other nodes only
			case err != nil && !errors.Is(p.gone(err), ErrUnknownTopicOrPartition):
				r.Unreadable[p.tp.String()] = err.Error()
			case v != nil:
				r.Partitions = append(r.Partitions, *v)
			}
		}
	}
	if entries, err := s.fs.ReadDir(filepath.Join(s.root, dataDirName)); err == nil {
		for _, e := range entries {
			if d, err := segment.ParseDirName(e.Name()); e.IsDir() && !known[e.Name()] && (err != nil || d.State == segment.DirLive) {
				r.Foreign = append(r.Foreign, e.Name())
			}
		}
	}
	return r, nil
}

var errVerify = errors.New("a check of the whole partition has found it")

// verify checks one partition; nil without an error if there is nothing to check.
func (p *part) verify(ctx context.Context) (*log.VerifyReport, error) {
	if !p.s.readOnly {
		idle := p.log.Load() == nil
		if start := p.startsWith(); idle && p.t.internal && start.clean && start.end == 0 {
			return nil, nil // it gets its directory at its first append
		}
		l, err := p.open()
		if err != nil {
			return nil, err
		}
		v, err := l.Verify(ctx)
		if err == nil && v.Damaged {
			for _, d := range l.Damage() {
				p.s.partitionCorrupt(p, &log.CorruptionError{Path: v.Dir, Offset: d.Offset, NextOffset: d.NextOffset, Err: errVerify})
				break
			}
		}
		if idle && err == nil {
			err = l.Park()
		}
		return v, err
	}
	if _, err := p.s.fs.Stat(p.dir()); errors.Is(err, fs.ErrNotExist) {
		if p.t.internal && p.start.end <= 0 && p.start.recoveryPoint == 0 {
			return nil, nil // it gets its directory at its first append
		}
		if !p.start.clean && p.start.recoveryPoint == 0 {
			return nil, nil // being created, or lost before anything was synced
		}
		return nil, fmt.Errorf("directory %s is missing: %w", p.dir(), err)
	}
	end := Offset(-1)
	if p.start.clean {
		end = p.start.end
	}
	return log.VerifyDir(ctx, p.s.fs, p.dir(), log.VerifyOptions{
		Topic: p.tp.Topic, Partition: p.tp.Partition, TopicID: p.t.id,
		Compacted: p.t.settings.Load().compacted || p.start.cleaned > 0, Start: p.start.logStart, End: end, Live: !p.start.clean,
	})
}
