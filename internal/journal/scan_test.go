package journal

import (
	"encoding/binary"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// chainOf returns n entries that continue each other, from 1.
func chainOf(n int) []envelope {
	list := make([]envelope, n+1) // [0] is what the first continues
	for i := 1; i <= n; i++ {
		list[i] = envelope{kind: 1, index: uint64(i), synced: uint64(i - 1), chain: list[i-1].crc, payload: []byte("change")}
		appendEnvelope(nil, &list[i])
	}
	return list
}

// segment makes a section as tidwall/wal writes it.
func segment(base uint64, entries ...envelope) section {
	s := section{name: segmentName(base), base: base, framed: true}
	for _, e := range entries {
		b := appendEnvelope(nil, &e)
		s.data = append(binary.AppendUvarint(s.data, uint64(len(b))), b...)
	}
	return s
}

func (s section) plus(b string) section {
	s.data = append(slices.Clone(s.data), b...)
	return s
}

func scanned(t *testing.T, f found) verdict {
	t.Helper()
	split := make([][]piece, len(f.sections))
	for i := range f.sections {
		list, _, err := f.sections[i].pieces()
		require.NoError(t, err)
		split[i] = list
	}
	return scan(f, split)
}

func after(e envelope) snapshot { return snapshot{index: e.index, chain: e.crc} }

// One rule of the scan in each case, where no other would notice.
func TestScanRules(t *testing.T) {
	e := chainOf(20)
	foreign := chainOf(20)
	for i := 1; i <= 20; i++ {
		foreign[i].kind, foreign[i].chain = 2, foreign[i-1].crc
		appendEnvelope(nil, &foreign[i])
	}
	ahead := e[5]
	ahead.synced = 9
	for name, c := range map[string]struct {
		found
		why     error // of the damage, nil: none
		last    uint64
		first   uint64
		covered bool
		cuts    []FindingKind
	}{
		"clean": {
			found: found{sections: []section{segment(1, e[1:6]...), segment(6, e[6:9]...)}},
			last:  8, first: 1,
		},
		"an entry says that more was durable": {
			found: found{sections: []section{segment(1, append(slices.Clone(e[1:5]), ahead)...)}},
			why:   errLost, last: 5, first: 1,
		},
		"the name of an empty segment says that more was durable": {
			found: found{sections: []section{segment(1, e[1:5]...), segment(6)}},
			why:   errLost, last: 4, first: 1,
		},
		"torn in front of an empty segment": {
			found: found{sections: []section{segment(1, e[1:5]...).plus("torn"), segment(6)}},
			why:   errLost, last: 4, first: 1,
		},
		"garbage between complete segments": {
			found: found{sections: []section{segment(1, e[1:6]...).plus("garbage"), segment(6, e[6:9]...)}},
			last:  8, first: 1, cuts: []FindingKind{TrailingBytes},
		},
		"garbage between complete segments and a torn end": {
			found: found{sections: []section{segment(1, e[1:6]...).plus("garbage"), segment(6, e[6:9]...).plus("torn")}},
			last:  8, first: 1, cuts: []FindingKind{TrailingBytes, TornTail},
		},
		"a segment with another's name": {
			found: found{sections: []section{segment(1, e[1:6]...), segment(5, e[6:9]...)}},
			why:   errName, last: 5, first: 1,
		},
		"a segment with another's name, covered": {
			found: found{sections: []section{segment(3, e[4:9]...)}, snapshot: after(e[6]), snapped: true},
			last:  8, first: 7, covered: true,
		},
		"the entry of the snapshot is another": {
			found: found{sections: []section{segment(4, foreign[4:7]...)}, snapshot: after(e[6]), snapped: true},
			why:   errSwapped, last: 6, first: 4,
		},
		"the entry of the mark is another": {
			found: found{sections: []section{segment(1, foreign[1:7]...)}, mark: mark{5, e[5].crc}, marked: true},
			why:   errSwapped, last: 6, first: 1,
		},
		"mark and snapshot contradict": {
			found: found{
				sections: []section{segment(7)}, snapshot: after(e[6]), snapped: true,
				mark: mark{6, foreign[6].crc}, marked: true,
			},
			why: errSwapped, last: 6, first: 7,
		},
		"mark and snapshot agree": {
			found: found{
				sections: []section{segment(7)}, snapshot: after(e[6]), snapped: true,
				mark: mark{6, e[6].crc}, marked: true,
			},
			last: 6, first: 7,
		},
		"covered entries doubled": {
			found: found{sections: []section{segment(1, e[1:6]...), segment(4, e[4:9]...)}, snapshot: after(e[6]), snapped: true},
			last:  8, first: 7, covered: true,
		},
		"covered entries of somebody else": {
			found: found{
				sections: []section{segment(1, foreign[1:4]...), segment(4, e[4:9]...)}, snapshot: after(e[6]), snapped: true,
			},
			last: 8, first: 7, covered: true,
		},
		"covered entries missing before the first that is not": {
			found: found{sections: []section{segment(1, e[1:6]...), segment(7, e[7:9]...)}, snapshot: after(e[6]), snapped: true},
			last:  8, first: 7, covered: true,
		},
		"covered entries missing at the end": {
			found: found{sections: []section{segment(1, e[1:6]...)}, snapshot: after(e[6]), snapped: true},
			last:  6, first: 7, covered: true,
		},
		"a covered entry damaged": {
			found: found{
				sections: []section{{
					name: segmentName(4), base: 4, framed: true,
					data: slices.Concat(segment(4, e[4:6]...).data, []byte("damaged"), segment(7, e[7:9]...).data),
				}},
				snapshot: after(e[6]), snapped: true,
			},
			last: 8, first: 7, covered: true,
		},
		"covered entries torn at the end": {
			found: found{sections: []section{segment(1, e[1:6]...).plus("torn")}, snapshot: after(e[6]), snapped: true},
			last:  6, first: 7, covered: true, cuts: []FindingKind{TornTail},
		},
		"a covered entry without its frame": {
			found: found{
				sections: []section{{
					name: segmentName(5), base: 5, framed: true,
					data: append(appendEnvelope(nil, &e[5]), segment(6, e[6:9]...).data...),
				}},
				snapshot: after(e[6]), snapped: true,
			},
			last: 8, first: 7, covered: true,
		},
		"the first that is not covered is missing": {
			found: found{sections: []section{segment(4, e[4:7]...), segment(8, e[8:10]...)}, snapshot: after(e[6]), snapped: true},
			why:   errChain, last: 6, first: 4,
		},
		"covered all, and damaged": {
			found: found{sections: []section{segment(1).plus("garbage"), segment(7)}, snapshot: after(e[6]), snapped: true},
			last:  6, first: 7, covered: true,
		},
		"only zeros": {
			found: found{sections: []section{segment(1).plus("\x00\x00")}},
			first: 1, cuts: []FindingKind{ZeroTail},
		},
		"no entry, no mark, no snapshot": {
			found: found{sections: []section{segment(1).plus("garbage")}},
			why:   errNotJournal, first: 1, cuts: []FindingKind{TornTail},
		},
		"the first write of all, torn": {
			found: found{sections: []section{segment(1).plus("garbage")}, marked: true},
			first: 1, cuts: []FindingKind{TornTail},
		},
		"no beginning": {
			found: found{sections: []section{segment(4, e[4:7]...)}},
			why:   errBase, first: 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := scanned(t, c.found)
			if c.why == nil {
				require.Nil(t, v.damage)
			} else {
				require.NotNil(t, v.damage)
				require.Equal(t, c.why, v.damage.why)
			}
			require.Equal(t, c.last, v.last.index)
			require.Equal(t, c.first, v.first)
			require.Equal(t, c.covered, v.covered)
			if c.why == nil || c.cuts != nil {
				var kinds []FindingKind
				for _, cut := range v.cuts {
					kinds = append(kinds, cut.kind)
				}
				require.Equal(t, c.cuts, kinds)
			}
		})
	}
}
