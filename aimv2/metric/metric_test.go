package metric

import (
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
)

func near(a, b, eps float64) bool { return math.Abs(a-b) <= eps*(1+math.Abs(b)) }

// TestCIDErGolden holds the scores to those of the public program, whose captions
// testdata/cider.py has drawn.
func TestCIDErGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/cider.json")
	if err != nil {
		t.Fatal(err)
	}
	var sets []struct {
		Captions   []string
		References [][]string
		Scores     []float64
		Mean       float64
	}
	if err := json.Unmarshal(data, &sets); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for n, set := range sets {
		captions, references := make([][]string, len(set.Captions)), make([][][]string, len(set.Captions))
		for i, c := range set.Captions {
			captions[i] = strings.Fields(c)
			for _, r := range set.References[i] {
				references[i] = append(references[i], strings.Fields(r))
			}
		}
		got, sum := CIDEr(captions, references), 0.0
		for i, want := range set.Scores {
			if !near(got[i], want, 1e-12) {
				t.Errorf("set %d: %q has %.15g, the public program gives %.15g", n, set.Captions[i], got[i], want)
			}
			sum += got[i]
			checked++
		}
		if !near(sum/float64(len(got)), set.Mean, 1e-12) {
			t.Errorf("set %d: the mean is %.15g, want %.15g", n, sum/float64(len(got)), set.Mean)
		}
	}
	if checked < 40 {
		t.Errorf("only %d captions are stored", checked)
	}
}

// TestCIDErByHand follows the formula with pencil and paper.
func TestCIDErByHand(t *testing.T) {
	for _, c := range []struct {
		name       string
		captions   [][]string
		references [][][]string
		want       float64 // of the first caption
	}{
		// Three of the four orders agree wholly, of four words there is none.
		{"equal, three words", [][]string{{"a", "b", "c"}, {"x"}}, [][][]string{{{"a", "b", "c"}}, {{"y"}}}, 10 * 3.0 / 4},
		// Words: "a" in both. Caption (a, b), reference (a, c), all of weight ln 2:
		// cosine 1/2. No pair agrees. Lengths are equal.
		{"half the words", [][]string{{"a", "b"}, {"x"}}, [][][]string{{{"a", "c"}}, {{"y"}}}, 10 * 0.5 / 4},
		// tf 3 is clipped to 1: 1·1·ln²2 / (3·ln 2 · ln 2); two pairs against none.
		{"repeated", [][]string{{"a", "a", "a"}, {"x"}}, [][][]string{{{"a"}}, {{"y"}}}, 10 * (1.0 / 3) / 4 * math.Exp(-4.0/72)},
		// "a" is in the references of both pictures and weighs ln 2 − ln 2 = 0, so b
		// alone makes the reference's vector; no pair agrees; lengths 0 and 1.
		{"common word", [][]string{{"b"}, {"x"}}, [][][]string{{{"a", "b"}}, {{"a"}}}, 10.0 / 4 * math.Exp(-1.0/72)},
		{"two references", [][]string{{"a"}, {"x"}}, [][][]string{{{"a"}, {"b"}}, {{"y"}}}, 10 * 0.5 / 4},
		{"one picture", [][]string{{"a"}}, [][][]string{{{"a"}}}, 0},
		{"no words", [][]string{{}, {"x"}}, [][][]string{{{"a"}}, {{"y"}}}, 0},
	} {
		if got := CIDEr(c.captions, c.references)[0]; !near(got, c.want, 1e-12) {
			t.Errorf("%s: %.12g, want %.12g", c.name, got, c.want)
		}
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]string{
		"Heart-eyes cat":         "heart-eyes cat",
		"A man, a dog.":          "a man a dog",
		"don't":                  "do n't",
		"The fox’s den":          "the fox 's den",
		"U.S. Virgin Islands":    "u.s virgin islands",
		"1,000.5 things":         "1,000.5 things",
		"(left) [right] “quote”": "left right quote",
		"wait -- what...?!":      "wait what",
		"rock & roll 100%":       "rock & roll 100 %",
		"'s":                     "s",
		" \t\n":                  "",
		"Ünï çödé":               "ünï çödé",
		"a\x00b":                 "a b",
		"狐":                      "狐",
		"- a -":                  "a",
		"o'clock":                "o'clock",
	} {
		if got := strings.Join(Words(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func FuzzWords(f *testing.F) {
	for _, s := range []string{"a-b", "don't'", "''s", "\xff\xfe", "1.", "-.-", "a\u0301'd"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, w := range Words(text) {
			if w == "" || strings.ContainsAny(w, " \t\n") {
				t.Fatalf("%q has the word %q", text, w)
			}
		}
		if a, b := Words(text), Words(strings.Join(Words(text), " ")); len(b) > len(a)+strings.Count(text, "'")+strings.Count(text, "’") {
			t.Fatalf("%q has %q, and then %q", text, a, b)
		}
	})
}

func TestWordF1(t *testing.T) {
	for _, c := range []struct {
		got, want string
		f1        float64
	}{
		{"fox", "fox", 1}, {"red fox", "fox", 2.0 / 3}, {"fox fox", "fox", 2.0 / 3}, {"", "fox", 0}, {"", "", 0}, {"cat", "fox", 0}, {"a b", "b a", 1},
	} {
		if got := WordF1(strings.Fields(c.got), strings.Fields(c.want)); !near(got, c.f1, 1e-12) {
			t.Errorf("WordF1(%q, %q) = %g, want %g", c.got, c.want, got, c.f1)
		}
	}
}

// TestShare checks Wilson's interval against its definition, that p lies z
// deviations of itself from the share at both ends, and against published values.
func TestShare(t *testing.T) {
	for _, c := range [][2]int{{1, 10}, {5, 10}, {9, 10}, {81, 263}, {500, 1000}} {
		e := Share(c[0], c[1])
		for _, p := range []float64{e.Low, e.High} {
			if got := math.Abs(e.Value-p) / math.Sqrt(p*(1-p)/float64(c[1])); !near(got, z, 1e-9) {
				t.Errorf("%d of %d: %g is %g deviations from %g", c[0], c[1], p, got, e.Value)
			}
		}
	}
	// Newcombe 1998, Stat. Med. 17, 857, table I, method 3.
	for _, c := range []struct {
		hits, n   int
		low, high float64
	}{{81, 263, 0.2553, 0.3662}, {15, 148, 0.0624, 0.1605}, {0, 20, 0, 0.1611}, {1, 29, 0.0061, 0.1718}} {
		if e := Share(c.hits, c.n); math.Abs(e.Low-c.low) > 5e-5 || math.Abs(e.High-c.high) > 5e-5 {
			t.Errorf("%d of %d: [%.4f, %.4f], published are [%.4f, %.4f]", c.hits, c.n, e.Low, e.High, c.low, c.high)
		}
	}
	if e := ShareOf([]bool{true, true, false}); e.Value != 2.0/3 || e.N != 3 {
		t.Errorf("%+v", e)
	}
	if e := Share(0, 0); !math.IsNaN(e.Value) {
		t.Errorf("of nothing: %+v", e)
	}
}

// TestBootstrap compares the interval of a mean with that of the normal
// distribution, and counts over 200 samples how often it holds the true mean.
func TestBootstrap(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	values := make([]float64, 400)
	var sum, squares float64
	for i := range values {
		values[i] = 3 + 2*r.NormFloat64()
		sum += values[i]
		squares += values[i] * values[i]
	}
	mean := sum / 400
	deviation := math.Sqrt((squares/400 - mean*mean) / 400)
	e := Mean(values, 1)
	if !near(e.Value, mean, 1e-12) || math.Abs((mean-e.Low)/(z*deviation)-1) > 0.1 || math.Abs((e.High-mean)/(z*deviation)-1) > 0.1 {
		t.Errorf("%+v, the normal distribution has %g ± %g", e, mean, z*deviation)
	}
	if again := Mean(values, 1); again != e {
		t.Error("the same seed gives another interval")
	}
	if other := Mean(values, 2); other.Low == e.Low || other.Value != e.Value {
		t.Error("the seed has no part in the interval, or one in the value")
	}
	held := 0
	for range 200 {
		small := make([]float64, 30)
		for i := range small {
			small[i] = r.Float64()
		}
		if e := Mean(small, r.Uint64()); e.Low <= 0.5 && 0.5 <= e.High {
			held++
		}
	}
	if held < 178 || held > 199 { // 190 ± 3 deviations, a little lower for 30 values
		t.Errorf("%d of 200 intervals hold the mean", held)
	}
	if e := Median([]float64{5, 1, 9}, 1); e.Value != 5 || e.Low != 1 || e.High != 9 {
		t.Errorf("median %+v", e)
	}
	if e := Median([]float64{5, 1, 9, 6}, 1); e.Value != 5.5 {
		t.Errorf("median %+v", e)
	}
	if e := Mean(nil, 1); !math.IsNaN(e.Value) || e.N != 0 {
		t.Errorf("of nothing: %+v", e)
	}
}

func TestRanks(t *testing.T) {
	nan := math.NaN()
	similarity := [][]float64{
		{0.9, 0.5, 0.1, 0.2}, // 0 is right: first
		{0.9, 0.5, 0.7, 0.1}, // 1: behind two
		{1, 1, 1, 1},         // 2: ties go against it
		{0.3, 0.4, 0.5, 0.6}, // 3, and 0 too: the better of them counts
		{nan, 0.4, 0.5, 0.6}, // none
		{nan, nan, 0.5, nan}, // 1: behind 2 and the equals 0 and 3
		{nan, 0.1, 0.5, nan}, // 2
	}
	rights := [][]int{{0}, {1}, {2}, {3, 0}, {}, {1}, {2}}
	right := func(i, j int) bool { return slices.Contains(rights[i], j) }
	ranks := Ranks(similarity, right)
	if want := []int{1, 3, 4, 1, 0, 4, 1}; !slices.Equal(ranks, want) {
		t.Errorf("ranks %v, want %v", ranks, want)
	}
	for k, want := range map[int]float64{1: 3.0 / 7, 3: 4.0 / 7, 5: 6.0 / 7} {
		if e := Recall(ranks, k); e.Value != want || e.N != 7 {
			t.Errorf("R@%d is %+v, want %g", k, e, want)
		}
	}
	if e := MedianRank(ranks, 1); e.Value != 2 || e.N != 6 {
		t.Errorf("median rank %+v", e)
	}
	turned := Transpose(similarity)
	if len(turned) != 4 || len(turned[0]) != 7 || turned[2][1] != 0.7 || Transpose(nil) != nil {
		t.Errorf("transposed: %v", turned)
	}
	back := Ranks(turned, func(j, i int) bool { return right(i, j) })
	if want := []int{3, 3, 1, 3}; !slices.Equal(back, want) {
		t.Errorf("ranks of the columns %v, want %v", back, want)
	}
}
