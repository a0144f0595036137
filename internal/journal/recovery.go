package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"

	"github.com/partlog/partlog/internal/vfs"
)

// recovery is one pass from the files to a state that can be believed: examine reads and judges, then either refuse,
// or repair and examine again until there is nothing to repair, then deliver and start.
type recovery struct {
	j      *Journal
	fs     vfs.FS
	o      Options
	floor  mark // an entry that is known to be durable, from memory; index 0: none
	report *Recovery
	store  storage

	found
	verdict
	pending   bool      // an interrupted truncation is to be finished
	empty     bool      // the directory holds no journal at all
	drafts    []string  // temporary files to be removed
	notes     []Finding // what is there without being an entry: foreign files, damaged mark
	bad       []Finding // damaged snapshots newer than the one used; Path is the name only
	bytes     int64     // of the newest snapshot's file
	onDisk    mark      // what the mark file says
	intact    bool      // and that it can be believed
	salvaging bool      // the salvage has been done
}

// recoverLocked opens the journal's files and sets everything in j that follows from them.
func (j *Journal) recoverLocked(o Options, floor mark) (*Recovery, error) {
	r := recovery{j: j, fs: j.fs, o: o, floor: floor, report: &Recovery{Findings: []Finding{}}}
	// Each pass settles one kind of thing; more than this means that repairs do not take.
	for range 6 {
		if err := r.examine(); err != nil {
			return nil, err
		}
		if err := r.refusal(); err != nil {
			if !o.Salvage || r.damage == nil || !r.damage.based || r.salvaging {
				return nil, err
			}
			if err := r.salvage(err); err != nil {
				return nil, fmt.Errorf("journal: salvage: %w", err)
			}
			continue
		}
		again, err := r.repair()
		if err != nil {
			return nil, fmt.Errorf("journal: repair: %w", err)
		}
		if again {
			continue
		}
		if err := r.deliver(); err != nil {
			return nil, err
		}
		return r.report, r.start()
	}
	return nil, fmt.Errorf("journal: %s: repairs have no effect", j.options.Dir)
}

// examine reads the directory and judges it.
func (r *recovery) examine() error {
	r.found, r.verdict = found{}, verdict{}
	r.drafts, r.notes, r.bad = nil, nil, nil
	r.store = newStorage(r.fs, r.o)
	// The mark first: beside a live writer the entries are then at least as new.
	err := r.readMark()
	if err != nil {
		return err
	}
	files, err := r.fs.ReadDir(r.o.Dir)
	if err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	var names []string
	for _, file := range files {
		switch kind, _ := parseName(file.Name()); {
		case kind == foreignFile || file.IsDir():
			r.notes = append(r.notes, Finding{Kind: Foreign, Path: r.j.path(file.Name()), Action: ActionNone})
		case kind == draftFile:
			r.drafts = append(r.drafts, file.Name())
		default:
			names = append(names, file.Name())
		}
	}
	slices.Sort(names)
	if err := r.readSnapshots(names); err != nil {
		return err
	}
	if r.sections, r.pending, err = r.store.sections(names); err != nil {
		return err
	}
	split := make([][]piece, len(r.sections))
	something := false
	for i := range r.sections {
		s := &r.sections[i]
		if s.data, err = readFile(r.fs, r.j.path(s.name), !r.o.ReadOnly); err != nil {
			return fmt.Errorf("journal: read entries: %w", err)
		}
		at := 0
		if split[i], at, err = s.pieces(); err != nil {
			return r.newer(s.name, s.data[at:])
		}
		something = something || len(s.data) > 0
	}
	r.empty = !something && !r.marked && !r.snapped && len(r.bad) == 0
	r.verdict = scan(r.found, split)
	return nil
}

func (r *recovery) newer(name string, data []byte) error {
	return &VersionError{Path: r.j.path(name), Version: data[4], Supported: formatVersion}
}

// readMark reads the mark; without an intact one the journal is only less well protected.
func (r *recovery) readMark() error {
	data, err := readFile(r.fs, r.j.path(markName), false)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		r.notes = append(r.notes, Finding{Kind: MissingMark, Path: r.j.path(markName), Action: ActionNone})
	case err != nil:
		return fmt.Errorf("journal: read mark: %w", err)
	default:
		m, err := decodeMark(data)
		if errors.Is(err, errNewer) {
			return r.newer(markName, data)
		}
		if err != nil {
			r.notes = append(r.notes, Finding{Kind: DamagedMark, Path: r.j.path(markName), Bytes: int64(len(data)), Action: ActionNone, Detail: err.Error()})
		} else {
			r.mark, r.marked = m, true
		}
	}
	r.onDisk, r.intact = r.mark, r.marked
	if r.floor.index >= r.mark.index && r.floor.index > 0 {
		r.mark, r.marked = r.floor, true
	}
	return nil
}

// readSnapshots finds the newest intact snapshot.
func (r *recovery) readSnapshots(names []string) error {
	for _, name := range slices.Backward(names) {
		kind, index := parseName(name)
		if kind != snapshotFile {
			continue
		}
		data, err := readFile(r.fs, r.j.path(name), false)
		if err != nil {
			return fmt.Errorf("journal: read snapshot: %w", err)
		}
		s, err := decodeSnapshot(data)
		if errors.Is(err, errNewer) {
			return r.newer(name, data)
		}
		if err == nil && s.index != index {
			err = errName
		}
		if err == nil {
			r.snapshot, r.snapped, r.bytes = s, true, int64(len(data))
			return nil
		}
		r.bad = append(r.bad, Finding{Kind: DamagedSnapshot, Path: name, Bytes: int64(len(data)), Index: index, Detail: err.Error()})
	}
	return nil
}

// refusal returns why the journal must not be opened.
func (r *recovery) refusal() error {
	if r.o.ReadOnly && r.empty {
		return fmt.Errorf("journal: %s: no journal: %w", r.o.Dir, fs.ErrNotExist)
	}
	d := r.damage
	if d == nil {
		return nil
	}
	e := &CorruptError{Path: r.o.Dir, Index: d.index, Position: -1, Err: d.why}
	if d.section >= 0 {
		e.Path, e.Position = r.j.path(r.sections[d.section].name), int64(d.position)
	}
	return e
}

// repair does the next thing that has to be done on disk, if any, and tells whether to look again.
func (r *recovery) repair() (again bool, err error) {
	for _, f := range r.bad {
		f.SavedAs, err = r.setAside(f.Path)
		if err != nil {
			return false, err
		}
		f.Path, f.Action = r.j.path(f.Path), ActionSetAside
		r.report.Findings = append(r.report.Findings, f)
		again = true
	}
	for _, name := range r.drafts {
		if err := r.fs.Remove(r.j.path(name)); err != nil {
			return false, err
		}
		r.report.Findings = append(r.report.Findings, Finding{Kind: Draft, Path: r.j.path(name), Action: ActionRemoved})
		again = true
	}
	for _, c := range r.cuts {
		if err := r.cut(c); err != nil {
			return false, err
		}
		again = true
	}
	switch {
	case again:
		return true, r.fs.SyncDir(r.o.Dir)
	case r.pending:
		r.report.Findings = append(r.report.Findings, Finding{
			Kind: InterruptedTruncation, Path: r.o.Dir, Index: r.first, Action: ActionFinished,
		})
		return true, r.store.finish()
	case r.covered:
		return true, r.dropCovered()
	}
	return false, nil
}

// cut removes the end of a section, after keeping a copy.
func (r *recovery) cut(c cut) error {
	s := r.sections[c.section]
	f := Finding{
		Kind:     c.kind,
		Path:     r.j.path(s.name),
		Position: int64(c.position),
		Bytes:    int64(len(s.data) - c.position),
		Index:    c.index,
		Action:   ActionCut,
		Detail:   c.why.Error(),
	}
	var err error
	if c.kind != ZeroTail { // zeros are worth nothing
		if f.SavedAs, err = r.keep(tornName(s.name, f.Position), s.data[c.position:]); err != nil {
			return err
		}
	}
	file, err := r.fs.OpenFile(f.Path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	if err := file.Truncate(f.Position); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Sync(); err != nil {
		return errors.Join(err, file.Close())
	}
	r.report.Findings = append(r.report.Findings, f)
	return file.Close()
}

// dropCovered drops everything up to the snapshot, because not all of it is there. The files are kept beside.
func (r *recovery) dropCovered() error {
	detail := "entries up to the snapshot are damaged or missing"
	if len(r.sections) == 0 {
		r.report.Findings = append(r.report.Findings, Finding{
			Kind: CoveredDamage, Path: r.o.Dir, Index: r.snapshot.index, Action: ActionReplaced, Detail: detail,
		})
	}
	for i, s := range r.sections {
		if len(r.good) > 0 && i > r.good[0].section {
			break
		}
		saved, err := r.keep(damagedName(s.name), s.data)
		if err != nil {
			return err
		}
		r.report.Findings = append(r.report.Findings, Finding{
			Kind: CoveredDamage, Path: r.j.path(s.name), Bytes: int64(len(s.data)), Index: s.base, Action: ActionReplaced,
			SavedAs: saved, Detail: detail,
		})
	}
	return r.store.replace(r.sections, r.verdict)
}

// salvage makes the good entries everything there is.
func (r *recovery) salvage(reason error) error {
	r.salvaging = true
	r.report.Lossy = true
	r.floor = mark{}
	// The mark first, since it forbids to lose what comes after. An interrupted salvage is refused like before, and repeated.
	if err := vfs.WriteFileAtomic(r.fs, r.j.path(markName), r.last.encode()); err != nil {
		return err
	}
	d := r.damage
	if d.section < 0 { // nothing is left to be cut
		r.report.Findings = append(r.report.Findings, Finding{
			Kind: Salvaged, Path: r.o.Dir, Index: d.index, Action: ActionNone, Detail: reason.Error(),
		})
	}
	cutAt := d.section
	for i, s := range r.sections {
		if i <= d.section && s.base <= r.last.index+1 {
			continue
		}
		if i == d.section {
			cutAt = -1
		}
		saved, err := r.setAside(s.name)
		if err != nil {
			return err
		}
		r.report.Findings = append(r.report.Findings, Finding{
			Kind: Salvaged, Path: r.j.path(s.name), Bytes: int64(len(s.data)), Index: s.base, Action: ActionSetAside, SavedAs: saved,
			Detail: reason.Error(),
		})
	}
	if cutAt >= 0 {
		err := r.cut(cut{section: cutAt, position: d.position, kind: Salvaged, index: d.index, why: reason})
		if err != nil {
			return err
		}
	}
	if errors.Is(d.why, errSwapped) && r.snapped {
		return r.dropCovered()
	}
	return r.fs.SyncDir(r.o.Dir)
}

// describe reports what a writer would repair.
func (r *recovery) describe() {
	for _, f := range r.bad {
		f.Path, f.Action = r.j.path(f.Path), ActionNone
		r.report.Findings = append(r.report.Findings, f)
	}
	for _, c := range r.cuts {
		s := r.sections[c.section]
		r.report.Findings = append(r.report.Findings, Finding{
			Kind: c.kind, Path: r.j.path(s.name), Position: int64(c.position), Bytes: int64(len(s.data) - c.position), Index: c.index,
			Action: ActionNone, Detail: c.why.Error(),
		})
	}
	if r.pending {
		r.report.Findings = append(r.report.Findings, Finding{Kind: InterruptedTruncation, Path: r.o.Dir, Index: r.first, Action: ActionNone})
	}
	if r.covered {
		r.report.Findings = append(r.report.Findings, Finding{Kind: CoveredDamage, Path: r.o.Dir, Index: r.snapshot.index, Action: ActionNone})
	}
}

// deliver hands out snapshot and entries, and takes over what was found.
func (r *recovery) deliver() error {
	for _, f := range r.notes {
		if f.Kind != MissingMark || !r.empty {
			r.report.Findings = append(r.report.Findings, f)
		}
	}
	r.report.Created = r.empty
	r.report.Snapshot, r.report.HasSnapshot = r.snapshot.index, r.snapped
	r.report.First, r.report.Last = r.first, r.last.index
	stats := &r.j.stats
	stats.First, stats.Snapshot, stats.SnapshotBytes, stats.ReplayBytes = r.first, r.snapshot.index, r.bytes, 0
	if r.snapped && r.o.Snapshot != nil {
		if err := r.o.Snapshot(r.snapshot.payload); err != nil {
			return err
		}
	}
	for _, p := range r.good {
		stats.ReplayBytes += int64(p.size())
		r.report.Replayed++
		if r.o.Replay == nil {
			continue
		}
		if err := r.o.Replay(Entry{Index: p.index, Kind: p.kind, Payload: p.payload}); err != nil {
			return err
		}
	}
	r.j.last, r.j.snapped = r.last, r.snapped
	r.j.snapshot = snapshot{index: r.snapshot.index, chain: r.snapshot.chain}
	return nil
}

// start makes the journal ready for Append.
func (r *recovery) start() error {
	j := r.j
	if err := r.store.start(r.sections, r.verdict); err != nil {
		return errors.Join(fmt.Errorf("journal: open for appending: %w", err), r.store.close())
	}
	j.store, j.marked = r.store, r.onDisk
	// Also for what an earlier process, or a call that failed, has renamed and not synced: it is believed from here on.
	if err := r.fs.SyncDir(r.o.Dir); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	if !r.intact || j.marked != j.last {
		if err := j.writeMarkLocked(j.last); err != nil {
			return fmt.Errorf("journal: %w", err)
		}
	}
	return nil
}

// keep writes bytes that are about to be removed to a file of that name, or name.2 and so on if it holds others.
func (r *recovery) keep(name string, data []byte) (path string, err error) {
	for n := 1; ; n++ {
		path = r.j.path(name)
		if n > 1 {
			path = fmt.Sprintf("%s.%d", path, n)
		}
		there, err := readFile(r.fs, path, false)
		if errors.Is(err, fs.ErrNotExist) {
			return path, vfs.WriteFileAtomic(r.fs, path, data)
		}
		if err != nil {
			return "", err
		}
		if string(there) == string(data) {
			return path, nil // by an earlier recovery that a crash interrupted
		}
	}
}

// setAside renames a file so that it is not looked at again.
func (r *recovery) setAside(name string) (path string, err error) {
	path = r.j.path(damagedName(name))
	for n := 2; ; n++ {
		if _, err := r.fs.Stat(path); errors.Is(err, fs.ErrNotExist) {
			break
		} else if err != nil {
			return "", err
		}
		path = fmt.Sprintf("%s.%d", r.j.path(damagedName(name)), n)
	}
	if err := r.fs.Rename(r.j.path(name), path); err != nil {
		return "", err
	}
	return path, r.fs.SyncDir(r.o.Dir)
}
