package journal

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/partlog/partlog/internal/vfs"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

// goldenVersions are the journals under testdata: format version 1 must open for ever.
var goldenVersions = []string{"v1"}

func goldenJournal(t *testing.T, h home) *catalogue {
	t.Helper()
	_, _, c := reference(t, h)
	return c
}

func TestGoldenJournalsOpenForEver(t *testing.T) {
	for _, version := range goldenVersions {
		for name, place := range homes {
			t.Run(version+"/"+name, func(t *testing.T) {
				dir := filepath.Join("testdata", version, name)
				h := place(t)
				want := goldenJournal(t, h)
				written := h.image(t)
				if *rewrite {
					require.NoError(t, os.RemoveAll(dir))
					require.NoError(t, os.MkdirAll(dir, 0o755))
					for file, b := range written {
						require.NoError(t, os.WriteFile(filepath.Join(dir, file), b, 0o644))
					}
				}
				golden := home{vfs.OS, dir}.image(t)
				require.True(t, maps.EqualFunc(golden, written, slices.Equal), "what is written has changed: is it a new version?")
				h.reset(t, golden)
				j, c, r := h.mustOpen(t)
				require.Equal(t, want.lines, c.lines)
				require.Empty(t, r.Findings)
				h.usable(t, j, c)
			})
		}
	}
}

func TestFileNamesAreParsedAsTheyAreMade(t *testing.T) {
	for name, want := range map[string]struct {
		kind  fileKind
		index uint64
	}{
		segmentName(1):                            {segmentFile, 1},
		segmentName(1<<64 - 1):                    {segmentFile, 1<<64 - 1},
		segmentName(7) + startSuffix:              {startFile, 7},
		segmentName(7) + endSuffix:                {endFile, 7},
		segmentName(7) + startSuffix + tempSuffix: {draftFile, 0},
		segmentName(7) + endSuffix + tempSuffix:   {draftFile, 0},
		segmentName(7) + startSuffix + ".tmp":     {draftFile, 0},
		snapshotName(0):                           {snapshotFile, 0},
		snapshotName(9):                           {snapshotFile, 9},
		snapshotName(9) + ".tmp":                  {draftFile, 0},
		markName + ".tmp":                         {draftFile, 0},
		entriesName + ".tmp":                      {draftFile, 0},
		tornName(segmentName(7), 9) + ".tmp":      {draftFile, 0},
		tornName(segmentName(7), 9):               {keptFile, 0},
		damagedName(snapshotName(7)):              {keptFile, 0},
		markName:                                  {markFile, 0},
		entriesName:                               {entriesFile, 0},
		lockName:                                  {lockFile, 0},
		"":                                        {},
		segmentName(0):                            {},
		"18446744073709551616":                    {},
		"+0000000000000000001":                    {},
		"1":                                       {},
		segmentName(7) + ".start":                 {},
		segmentName(7) + startSuffix + endSuffix:  {},
		"snapshot-1":                              {},
		"notes.tmp":                               {},
		"mark.tmp.tmp":                            {},
	} {
		kind, index := parseName(name)
		require.Equal(t, want.kind, kind, name)
		require.Equal(t, want.index, index, name)
	}
}

func TestErrorsNameTheirPlace(t *testing.T) {
	err := error(&CorruptError{Path: "p", Index: 3, Position: 9, Err: errCRC})
	require.EqualError(t, err, "journal: corrupt: p: entry 3 at position 9: wrong checksum")
	require.ErrorIs(t, err, ErrCorrupt)
	require.ErrorIs(t, err, errCRC)
	err = &CorruptError{Path: "p", Index: 3, Position: -1, Err: errLost}
	require.EqualError(t, err, "journal: corrupt: p: entry 3: durable entries are missing")
	err = &VersionError{Path: "p", Version: 2, Supported: 1}
	require.EqualError(t, err, "journal: p has format version 2, this program reads up to 1")
}
