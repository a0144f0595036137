package kafka

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/partlog/partlog/partition"
)

// feature is a feature of Apache Kafka 4.1 (KIP-584): the levels that are served, and the level of a new cluster.
type feature struct {
	name           string
	min, max, from int16
}

const metadataVersion = "metadata.version"

var features = []feature{
	{"eligible.leader.replicas.version", 0, 1, 1},
	{"group.version", 0, 1, 1},
	{"kraft.version", 0, 1, 0},
	{metadataVersion, 7, 27, 27},
	{"share.version", 0, 1, 0},
	{"transaction.version", 0, 2, 2},
}

// featurePrefix begins the settings that keep finalized levels that somebody has changed, behind which is the name.
const featurePrefix = "kafka/feature/"

// startFeatures reads the finalized levels.
func (s *Server) startFeatures() error {
	levels := map[string]int16{}
	for _, f := range features {
		levels[f.name] = f.from
		if level, ok := s.config.Features[f.name]; ok {
			levels[f.name] = min(max(level, f.min), f.max)
		}
	}
	for _, kept := range s.store.Settings(featurePrefix) {
		name := strings.TrimPrefix(kept.Key, featurePrefix)
		n, err := strconv.ParseInt(string(kept.Value), 10, 16)
		if err != nil {
			return fmt.Errorf("setting %q: %w", kept.Key, err)
		}
		levels[name] = int16(n)
	}
	s.admin.features.Store(&levels)
	s.admin.epoch.Store(1)
	return nil
}

// featureLevel returns the finalized level of a feature.
func (s *Server) featureLevel(name string) int16 { return (*s.admin.features.Load())[name] }

// features tells the levels in an answer to ApiVersions. Before version 4 a level of 0 could not be told (KIP-1022).
func (s *Server) features(resp *kmsg.ApiVersionsResponse, version int16) {
	if version < 3 {
		return
	}
	levels := *s.admin.features.Load()
	resp.FinalizedFeaturesEpoch = s.admin.epoch.Load()
	resp.SupportedFeatures = make([]kmsg.ApiVersionsResponseSupportedFeature, 0, len(features))
	resp.FinalizedFeatures = make([]kmsg.ApiVersionsResponseFinalizedFeature, 0, len(features))
	for _, f := range features {
		if version >= 4 || f.min > 0 {
			r := kmsg.NewApiVersionsResponseSupportedFeature()
			r.Name, r.MinVersion, r.MaxVersion = f.name, f.min, f.max
			resp.SupportedFeatures = append(resp.SupportedFeatures, r)
		}
		if level := levels[f.name]; level > 0 {
			r := kmsg.NewApiVersionsResponseFinalizedFeature()
			r.Name, r.MinVersionLevel, r.MaxVersionLevel = f.name, level, level
			resp.FinalizedFeatures = append(resp.FinalizedFeatures, r)
		}
	}
}

// The ways to change a level.
const (
	upgradeOnly     = 1
	safeDowngrade   = 2
	unsafeDowngrade = 3
)

// handleUpdateFeatures changes finalized levels, all or none (KIP-584, KIP-778, KIP-1022).
func handleUpdateFeatures(s *session, c *call) (kmsg.Response, error) {
	req := c.req.(*kmsg.UpdateFeaturesRequest)
	resp := req.ResponseKind().(*kmsg.UpdateFeaturesResponse)
	if !s.authorizeCluster(opAlter) {
		resp.ErrorCode, resp.ErrorMessage = codeClusterAuthorizationFailed, kmsg.StringPtr(textClusterDenied)
		return resp, nil
	}
	admin := &s.server.admin
	admin.alter.Lock()
	defer admin.alter.Unlock()
	levels := maps.Clone(*admin.features.Load())
	for _, u := range req.FeatureUpdates {
		way := u.UpgradeType
		if c.version == 0 {
			if way = upgradeOnly; u.AllowDowngrade {
				way = safeDowngrade
			}
		}
		if err := s.checkFeature(levels[u.Feature], u.Feature, u.MaxVersionLevel, way); err != nil {
			resp.ErrorCode = codeInvalidUpdateVersion
			resp.ErrorMessage = kmsg.StringPtr("The update failed for all features since the following feature had an error: " + err.Error())
			return resp, nil
		}
		levels[u.Feature] = u.MaxVersionLevel
	}
	if err := s.putFeatures(c, levels, req.ValidateOnly && c.version >= 1); err != nil {
		resp.ErrorCode, resp.ErrorMessage = c.outcome(err)
		return resp, nil
	}
	if c.version < 2 {
		for _, u := range req.FeatureUpdates {
			r := kmsg.NewUpdateFeaturesResponseResult()
			r.Feature, r.ErrorMessage = u.Feature, kmsg.StringPtr("NONE")
			resp.Results = append(resp.Results, r)
		}
	}
	return resp, nil
}

// putFeatures keeps changed levels and brings them into force.
func (s *session) putFeatures(c *call, levels map[string]int16, validateOnly bool) error {
	old := *s.server.admin.features.Load()
	if validateOnly || maps.Equal(levels, old) {
		return nil
	}
	var changes []partition.Setting
	for _, name := range slices.Sorted(maps.Keys(levels)) {
		if levels[name] != old[name] {
			changes = append(changes, partition.Setting{Key: featurePrefix + name, Value: []byte(strconv.Itoa(int(levels[name])))})
		}
	}
	if err := s.server.store.PutSettings(c.ctx, changes...); err != nil {
		return err
	}
	s.server.admin.features.Store(&levels)
	s.server.admin.epoch.Add(1)
	return nil
}

// checkFeature applies Kafka's rules to one change of a level.
func (s *session) checkFeature(now int16, name string, level int16, way int8) error {
	id := s.server.controller()
	bad := func(format string, args ...any) error {
		return refusal(codeInvalidUpdateVersion, fmt.Sprintf("Invalid update version %d for feature %s. "+format, append([]any{level, name}, args...)...))
	}
	i := slices.IndexFunc(features, func(f feature) bool { return f.name == name })
	switch {
	case way < upgradeOnly || way > unsafeDowngrade:
		return bad("The controller does not support the given upgrade type.")
	case level < 0:
		return bad("A feature version cannot be less than 0.")
	case i < 0:
		return bad("Local controller %d does not support this feature.", id)
	case level != 0 && level < features[i].min || level > features[i].max || level == 0 && features[i].min > 0:
		return bad("Local controller %d only supports versions %d-%d", id, features[i].min, features[i].max)
	case level < now && way == upgradeOnly:
		return bad("Can't downgrade the version of this feature without setting the upgrade type to either safe or unsafe downgrade.")
	case name == metadataVersion && level < now && way == safeDowngrade:
		return refusal(codeInvalidUpdateVersion, fmt.Sprintf("Invalid metadata.version %d. Refusing to perform the requested downgrade because it might delete metadata information.", level))
	case name == metadataVersion && level < now:
		return refusal(codeInvalidUpdateVersion, fmt.Sprintf("Invalid metadata.version %d. Unsafe metadata downgrade is not supported in this version.", level))
	}
	return nil
}
