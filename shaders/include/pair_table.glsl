// Any function of two int8 values: a table of 65,536 bytes, bound where PAIR_TABLE_BINDING says.
#ifndef PAIR_TABLE_GLSL
#define PAIR_TABLE_GLSL

layout(set = 0, binding = PAIR_TABLE_BINDING) restrict readonly buffer Table { int table_words[]; };

int table_byte(int index) { return table_words[index / 4] >> (8 * (index % 4)); }

ivec4 table_bytes(ivec4 index) {
    return ivec4(table_byte(index.x), table_byte(index.y), table_byte(index.z),
                 table_byte(index.w));
}

ivec4 pair_index(ivec4 a, ivec4 b) { return 256 * (a + 128) + b + 128; }

#endif
