package kafkatest

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
	"sync"

	"github.com/partlog/partlog/kafka"
)

// Each file is what a broker of a release answers to ApiVersions: lines of an API's key, its name, and its smallest and largest
// version; "feature" lines with the levels that are supported, and "finalized" lines with those in force.
//
//go:embed testdata/personas/*.tsv
var personaFiles embed.FS

// personaVersions is what one file says.
type personaVersions struct {
	ranges   map[int16]kafka.Range
	features []personaFeature
}

type personaFeature struct {
	name            string
	min, max, level int16
}

var (
	personaVersionsMu sync.Mutex // guards personaVersionsOf
	personaVersionsOf = map[string]*personaVersions{}
)

// versions returns what the release's file says, read once.
func (p *Persona) versions() *personaVersions {
	personaVersionsMu.Lock()
	defer personaVersionsMu.Unlock()
	v := personaVersionsOf[p.release]
	if v == nil {
		file, err := personaFiles.ReadFile("testdata/personas/" + p.release + ".tsv")
		if err != nil {
			panic("BUG: " + err.Error())
		}
		v = parsePersonaVersions(string(file))
		personaVersionsOf[p.release] = v
	}
	return v
}

func parsePersonaVersions(file string) *personaVersions {
	v := &personaVersions{ranges: map[int16]kafka.Range{}}
	finalized := map[string]int16{}
	for line := range strings.Lines(file) {
		columns := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(columns) != 4 {
			panic(fmt.Sprintf("BUG: %d columns: %s", len(columns), line))
		}
		if columns[0] == "key" {
			continue
		}
		from, to := personaNumber(columns[2]), personaNumber(columns[3])
		switch columns[0] {
		case "feature":
			v.features = append(v.features, personaFeature{name: columns[1], min: from, max: to})
		case "finalized":
			finalized[columns[1]] = to
		default:
			v.ranges[personaNumber(columns[0])] = kafka.Range{Min: from, Max: to}
		}
	}
	for i := range v.features {
		v.features[i].level = finalized[v.features[i].name]
	}
	return v
}

// levels returns the finalized levels of features, 0 of those that the release does not know; nil means those of package kafka.
func (p *Persona) levels() map[string]int16 {
	if p.release == "" {
		return nil
	}
	all := map[string]int16{}
	for _, name := range []string{"eligible.leader.replicas.version", "group.version", "share.version", "transaction.version"} {
		all[name] = 0
	}
	for _, f := range p.versions().features {
		all[f.name] = f.level
	}
	return all
}

func personaNumber(s string) int16 {
	n, err := strconv.ParseInt(s, 10, 16)
	if err != nil {
		panic("BUG: " + err.Error())
	}
	return int16(n)
}

// Ranges returns the versions of each API that the persona serves, by its key, for kafka.Config.Versions together with
// OldVersions; nil means those of the package kafka.
func (p *Persona) Ranges() map[int16]kafka.Range {
	if p.release == "" {
		return nil
	}
	own := p.versions().ranges
	all := map[int16]kafka.Range{}
	for key := range int16(128) { // whatever package kafka serves
		r, ok := own[key]
		telemetry := p.telemetry && (key == keyGetTelemetrySubscriptions || key == keyPushTelemetry)
		if !ok && !telemetry { // which brokers advertise only where somebody listens
			r = kafka.Range{Min: 0, Max: -1}
		}
		all[key] = r
	}
	return all
}

const (
	keyGetTelemetrySubscriptions = 71
	keyPushTelemetry             = 72
)
