// Extensions that every kernel may use.
#extension GL_EXT_control_flow_attributes : require
#if defined(DOT_SIGNED) || defined(DOT_MIXED)
#extension GL_EXT_integer_dot_product : require
#endif
#if defined(DOT_LANES)
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
