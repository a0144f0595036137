package journal

// found is what the directory holds, before anything is believed.
type found struct {
	sections []section
	snapshot snapshot // the newest intact one
	snapped  bool     // there is one
	mark     mark
	marked   bool // there is an intact one
}

// verdict is what the scan makes of it.
type verdict struct {
	good    []place // the entries after the snapshot that continue it, in order
	first   uint64  // index of the first entry kept, last.index+1 when there is none
	last    mark
	cuts    []cut // bytes to be removed at the end of sections
	covered bool  // entries up to the snapshot are damaged or missing: drop them all
	damage  *damage
}

// place is an entry and where it is.
type place struct {
	envelope
	section    int
	start, end int
}

// cut removes a section's bytes from a position on.
type cut struct {
	section, position int
	kind              FindingKind
	index             uint64 // of the entry that would have been there
	why               error
}

// damage is why the journal must not be opened; section -1: it has no place.
type damage struct {
	section, position int
	index             uint64
	why               error
	based             bool // the good entries have a beginning, so they may be salvaged
}

// scan decides what is believed. It reads and changes nothing on disk, and is the same for both storages. The rule for
// the end of the journal: what is missing or damaged was torn if it lies above everything known to have been durable
// (the mark, the snapshot, every intact entry's synced index, the existence of a following segment), and lost otherwise.
func scan(f found, split [][]piece) verdict {
	v := verdict{}
	if f.snapped {
		v.last = mark{f.snapshot.index, f.snapshot.chain}
	}
	base := v.last.index
	var (
		durable uint64      // the last index known to have been durable
		gap     *cut        // an unexplained gap
		stray   *place      // the first intact entry that does not continue
		strays  int         // how many
		reason  = errChain  // why it does not
		before  mark        // the entry before, among those that the snapshot covers
		seen    bool        // an entry has been seen
		ordered = true      // the covered entries are whole and contiguous
		recall  = [2]mark{} // what was found at the indexes of mark and snapshot
		started = func() bool { return len(v.good) > 0 }
	)
	if f.marked {
		durable = f.mark.index
	}
	for i, s := range f.sections {
		if s.base > 0 {
			durable = max(durable, s.base-1)
		}
		if gap != nil && stray == nil && s.base > 0 {
			if s.base == v.last.index+1 && (started() || seen && before.index == base) {
				// The section before it is complete, whatever follows its last entry.
				gap.kind = TrailingBytes
				v.cuts = append(v.cuts, *gap)
				gap = nil
			} else if s.base <= base+1 && !started() {
				ordered, gap = false, nil
			}
		}
		if s.base > 0 && s.base <= base && len(s.data) == 0 && i < len(f.sections)-1 {
			ordered = false // its name promises entries that are not there
		}
		for n, p := range split[i] {
			if p.gap != nil {
				if gap == nil {
					gap = &cut{section: i, position: p.start, kind: TornTail, index: v.last.index + 1, why: p.gap}
				}
				continue
			}
			e := p.entry
			durable = max(durable, e.synced)
			here := place{envelope: e, section: i, start: p.start, end: p.end}
			for k, m := range [2]mark{f.mark, {f.snapshot.index, f.snapshot.chain}} {
				if m.index == e.index {
					recall[k] = mark{e.index, e.crc}
				}
			}
			misnamed := n == 0 && s.base > 0 && e.index != s.base
			switch {
			case stray != nil:
				strays++
			case e.index <= base && e.index > 0 && !started():
				if gap != nil || misnamed || seen && (e.index != before.index+1 || e.chain != before.chain) {
					ordered, gap = false, nil
				}
				if !seen {
					v.first = e.index
				}
				before, seen = mark{e.index, e.crc}, true
			case e.index == v.last.index+1 && e.chain == v.last.chain && !misnamed && !p.unframed && (gap == nil || base > 0 && !started()):
				// A gap before the first entry after the snapshot held only what the snapshot covers.
				if gap != nil || seen && before.index != base && !started() {
					ordered, gap = false, nil
				}
				if !seen {
					v.first, seen = e.index, true
				}
				v.good = append(v.good, here)
				v.last = mark{e.index, e.crc}
			default:
				stray, strays = &here, 1
				if misnamed {
					reason = errName
				} else if gap != nil {
					reason = gap.why
				}
				// The last write, torn so that only its frame is missing.
				if gap != nil && p.unframed && e.index == v.last.index+1 && e.chain == v.last.chain {
					stray, strays = nil, 0
				}
			}
		}
	}
	if !seen {
		v.first = v.last.index + 1
	}
	// The entries below the snapshot must reach it, or there is nowhere to append.
	if !started() && f.snapped && (seen && before.index != base || !seen && !ends(f.sections, base)) {
		ordered = false
	}
	v.covered = !ordered
	v.damage = judge(f, v, durable, gap, stray, reason, recall)
	if gap != nil {
		if f.sections[gap.section].zeros(gap.position) {
			gap.kind = ZeroTail
		}
		v.cuts = append(v.cuts, *gap)
	}
	if v.covered {
		v.first = base + 1
	}
	return v
}

// ends reports whether sections without an entry end where the snapshot does.
func ends(sections []section, base uint64) bool {
	if len(sections) == 0 {
		return false
	}
	last := sections[len(sections)-1]
	return last.base == base+1 || last.base == 0
}

// judge returns what forbids to open, or nil.
func judge(f found, v verdict, durable uint64, gap *cut, stray *place, reason error, recall [2]mark) *damage {
	at := &damage{section: -1, index: v.last.index + 1, based: f.snapped || v.first == 1}
	switch {
	case gap != nil:
		at.section, at.position = gap.section, gap.position
	case stray != nil:
		at.section, at.position = stray.section, stray.start
	case len(f.sections) > 0:
		at.section = len(f.sections) - 1
		at.position = len(f.sections[at.section].data)
	}
	switch {
	case !f.snapped && (v.first > 1 || stray != nil && len(v.good) == 0 && stray.index > 1):
		at.why, at.index, at.based = errBase, 1, false
	case recall[1].index > 0 && f.snapped && recall[1].chain != f.snapshot.chain,
		recall[0].index > 0 && f.marked && recall[0].chain != f.mark.chain,
		f.snapped && f.marked && f.mark.index == f.snapshot.index && f.mark.chain != f.snapshot.chain:
		at.why = errSwapped
	case stray != nil:
		at.why = reason
	case durable > v.last.index:
		at.why = errLost
	case gap != nil && !f.marked && !f.snapped && len(v.good) == 0 && !f.sections[gap.section].zeros(gap.position):
		at.why, at.based = errNotJournal, false
	default:
		return nil
	}
	return at
}
